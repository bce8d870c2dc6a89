"""Who is in a segment, and whom a flag allows: counted, and a page after the other."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.definitions import members
from dashboard.flags import people
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

#: One page, and a half.
PAGE_ROWS = 50
PEOPLE = [f"user:po-{number:03}" for number in range(PAGE_ROWS * 3 // 2)]


@pytest.fixture(scope="module")
def peopled(console: RunningStack) -> RunningStack:
    """A segment and two flags, and people in them."""
    console.define("segment", "po_segment", "events.po.count >= 1")
    variants = [{"name": "red", "weight": 1}, {"name": "blue", "weight": 1}]
    console.define("flag", "po_flag", 'segment("po_segment")', variants=variants, users={"po-000": False})
    console.define("flag", "po_off", 'segment("po_segment")', enabled=False)
    batch = [{"type": "track", "event": "po", "userId": id.removeprefix("user:")} for id in PEOPLE]
    assert console.call("POST", "/v1/batch", "write", json={"batch": batch}).status_code == 200
    wait_until(lambda: _count(console) == len(PEOPLE), "all are in the lake", 60)
    return console


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of so many people."""
    for module in (members, people):
        monkeypatch.setattr(module, "PEOPLE_ROWS", PAGE_ROWS)


def _count(console: RunningStack) -> int:
    count: int = console.call("GET", "/v1/admin/segments/po_segment/members").json()["count"]
    return count


def shown(app: AppTest, column: str = "id") -> list[str]:
    """A column of the table on a screen."""
    (rows,) = app.dataframe
    return list(rows.value[column])


def button(app: AppTest, label: str) -> AppTest:
    """The screen after a click."""
    return next(one for one in app.button if one.label == label).click().run()


def test_the_members_of_a_segment_are_paged_to_the_last(peopled: RunningStack, screens: Screens) -> None:
    """Forward and back; the page is in the address."""
    app = screens.open("segments", key_="po_segment", tab="Members")
    assert app.metric[0].value == str(len(PEOPLE))
    assert shown(app) == PEOPLE[:PAGE_ROWS]
    assert "Page 1 of 2" in texts(app)

    app = button(app, "Next")
    assert shown(app) == PEOPLE[PAGE_ROWS:]
    assert "Page 2 of 2" in texts(app)
    after, page = ("".join(app.query_params[name]) for name in ("after", "page"))

    assert shown(button(app, "Back")) == PEOPLE[:PAGE_ROWS]

    elsewhere = screens.open("segments", key_="po_segment", tab="Members", after=after, page=page)
    assert shown(elsewhere) == PEOPLE[PAGE_ROWS:]
    assert shown(button(elsewhere, "First")) == PEOPLE[:PAGE_ROWS]


def test_the_people_of_a_flag_are_those_whom_it_allows(peopled: RunningStack, screens: Screens) -> None:
    """Not those whom its rule holds for: one is named, and refused. A variant shows its own."""
    app = screens.open("flags", key_="po_flag", tab="People")
    assert app.metric[0].value == str(len(PEOPLE) - 1)
    assert shown(app) == PEOPLE[1 : PAGE_ROWS + 1]

    red = screens.open("flags", key_="po_flag", tab="People", variant="red")
    assert set(shown(red, "variant")) == {"red"}
    answer = peopled.call("GET", "/v1/admin/flags/po_flag/people?variant=red&limit=50").json()
    assert shown(red) == [user["id"] for user in answer["users"]]


def test_a_flag_that_allows_nobody_says_why(peopled: RunningStack, screens: Screens) -> None:
    """That it is off, first of all."""
    app = screens.open("flags", key_="po_off", tab="People")

    assert app.metric[0].value == "0"
    assert "The flag is off." in texts(app)
