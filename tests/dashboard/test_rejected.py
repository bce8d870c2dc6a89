"""A refused event, repaired and sent again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from dashboard.screens.rejected import _indented
from tests.dashboard.screens import Screens, opened, opened_dialog, press, texts
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


@pytest.mark.deep
def test_a_refused_event_is_repaired_and_counts(console: RunningStack, signed_in: Page) -> None:
    """It is listed with its reason; with its time put right it is taken, at that time."""
    sent = {"userId": "refused-ada", "event": "repaired", "timestamp": "noon"}
    assert console.call("POST", "/v1/track", "write", json=sent).status_code == 400
    refused = refused_event(console, "refused-ada")

    page = opened(console, signed_in, "/rejected")
    row = row_of(page, refused)
    press(row.locator("summary"))
    dialog = opened_dialog(row.get_by_role("button", name="Send again …"))
    field = dialog.get_by_label("Event, as JSON")
    expect(field).to_have_value(re.compile("noon"))
    field.fill(field.input_value().replace('"noon"', '"2026-01-02T12:00:00Z"'))
    field.press("Control+Enter")
    press(dialog.get_by_role("button", name="Send again"))

    expect(page.get_by_text("1 sent")).to_be_visible()
    expect(row).to_contain_text("sent again")
    wait_until(lambda: _names(console) == ["repaired"], "the event is the person's", 60)


@pytest.mark.deep
def test_an_event_that_somebody_else_sent_meanwhile_is_shown_as_sent(console: RunningStack, signed_in: Page) -> None:
    """The dialog says so, and the list behind it does once the dialog is closed."""
    sent = {"userId": "refused-bob", "event": "repaired", "timestamp": "midnight"}
    assert console.call("POST", "/v1/track", "write", json=sent).status_code == 400
    refused = refused_event(console, "refused-bob")
    page = opened(console, signed_in, "/rejected")
    row = row_of(page, refused)
    press(row.locator("summary"))
    dialog = opened_dialog(row.get_by_role("button", name="Send again …"))
    expect(dialog.get_by_label("Event, as JSON")).to_be_visible()
    repaired = {"ids": [refused["id"]], "event": {**sent, "timestamp": "2026-01-02T00:00:00Z"}}
    assert console.call("POST", "/v1/admin/rejected/redrive", json=repaired).json()["redriven"] == 1

    press(dialog.get_by_role("button", name="Send again"))
    expect(dialog).to_contain_text("it was sent again at")
    press(dialog.get_by_role("button", name="Close"))

    expect(row).to_contain_text("sent again")


def test_no_event_hides_those_below_it(console: RunningStack, screens: Screens) -> None:
    """Whoever may write sends anything: what the console cannot read is shown and offered as its text."""
    deep = '{"a":' * 900 + "1" + "}" * 900  # as deep as the API decodes, and keeps
    below, above = (
        '{"type":"track","userId":"rs-below","event":""}',
        f'{{"type":"track","userId":"rs-deep","event":"e","properties":{deep}}}',
    )
    for event in (below, above):
        sent = console.call("POST", "/v1/batch", "write", content=f'{{"batch":[{event}]}}'.encode())
        assert len(sent.json()["rejected"]) == 1, sent.text

    def kept() -> dict[str, str]:
        listed = console.call("GET", "/v1/admin/rejected").json()["rejected"]
        return {id: one["id"] for id in ("rs-below", "rs-deep") for one in listed if id in (one["event"] or "")}

    wait_until(lambda: len(kept()) == 2, "they are in the lake", 30)

    app = screens.open("rejected")

    shown = [code.value for code in app.code] + [json.value for json in app.json]
    assert all(any(id in text for text in shown) for id in kept())
    app.button(key=f"again {kept()['rs-deep']}").click().run()
    assert not app.exception, texts(app)
    assert "rs-deep" in app.text_area[0].value


def test_nothing_is_offered_to_be_sent_for_a_reason_without_events(console: RunningStack, screens: Screens) -> None:
    """An address may name any reason, as that of somebody who sent all of it again."""
    sent = {"userId": "rs-offered", "event": "offered", "timestamp": "dawn"}
    assert console.call("POST", "/v1/track", "write", json=sent).status_code == 400
    refused = refused_event(console, "rs-offered")

    def offers(reason: str) -> bool:
        return "Send all of it again …" in [button.label for button in screens.open("rejected", reason=reason).button]

    assert offers(refused["group"])
    assert not offers("a reason of nobody")


def test_half_a_character_is_offered_as_it_was_sent() -> None:
    """No field of a page takes it decoded."""
    assert _indented('{"a":"\\ud800"}') == '{"a":"\\ud800"}'
    assert _indented('{"a":1}') == '{\n  "a": 1\n}'


def refused_event(console: RunningStack, id: str) -> dict[str, Any]:
    """The only refused event that has a text in it, once the lake has it."""

    def found() -> list[dict[str, Any]]:
        listed = console.call("GET", "/v1/admin/rejected").json()["rejected"]
        return [one for one in listed if id in (one["event"] or "")]

    (refused,) = wait_until(found, "it is in the lake", 60)
    return refused


def row_of(page: Page, refused: dict[str, Any]) -> Locator:
    """The row of an event: others' events come before and after it."""
    return page.locator(f".st-key-refused-{re.sub('[^a-zA-Z0-9_-]', '-', refused['id'])}")


def _names(console: RunningStack) -> list[str]:
    answer = console.call("GET", "/v1/admin/users/refused-ada/events")
    return [event["name"] for event in answer.json().get("events", [])]
