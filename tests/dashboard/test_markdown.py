"""Words of others stay words: neither a link nor a format of theirs gets onto a screen."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from dashboard.markdown import code, plain
from tests.dashboard.screens import opened
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

ODD = "<b>x</b> [go](https://example.com/) `a` | $x$ *y* :red[z] \"q\" 's' www.example.com a@example.com 😀 a--b"


def test_a_code_span_holds_any_text() -> None:
    """Its fence is longer than any backticks within, and it is one line."""
    assert code("ada") == "`ada`"
    assert code("a`b") == "``a`b``"
    assert code("``") == "``` `` ```"
    assert code("a\nb") == "`a b`"
    assert code("") == "`–`"


def test_no_letter_of_a_plain_text_is_a_mark() -> None:
    """Every sign of punctuation is escaped."""
    assert plain("a*b*\n[c](d) :red[e]") == r"a\*b\* \[c\]\(d\) \:red\[e\]"


@pytest.mark.deep
def test_names_of_others_are_shown_as_they_stand(console: RunningStack, signed_in: Page) -> None:
    """As a person's id, an event's name, a property, notes of a definition, and in the address."""
    console.track(ODD, ODD, properties={"amount": ODD})
    made = {"key": "odd_notes", "rule": "true", "description": ODD, "owner": ODD, "tags": [ODD[:40]], "note": ODD}
    assert console.call("POST", "/v1/admin/flags", json=made).status_code == 200
    wait_until(lambda: _is_known(console), "the person is known", 60)
    person = f"/users?id={quote('user:' + ODD, safe='')}"

    for path in (
        person,
        f"{person}&tab=Events",
        f"{person}&tab=Ids",
        f"{person}&tab=Download%2C+delete",
        "/flags?key=odd_notes",
        "/flags?key=odd_notes&tab=History",
        f"/flags?key={quote(ODD, safe='')}",
        f"/rejected?reason={quote(ODD, safe='')}",
    ):
        page = opened(console, signed_in, path)
        main = page.get_by_test_id("stMain")
        expect(
            main.get_by_text("[go](", exact=False).or_(main.get_by_text("Nothing was refused")).first
        ).to_be_visible()
        assert main.locator("a[href*='example.com'], b, .katex, em").count() == 0, path
    expect(opened(console, signed_in, person).get_by_role("heading", name=f"user:{ODD}", exact=True)).to_be_visible()


def _is_known(console: RunningStack) -> bool:
    answer = console.call("GET", "/v1/admin/users/search", params={"query": "<b>x</b>"})
    return bool(answer.json()["total"])
