"""The address says what a person looks at, and nothing of what they looked at before."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from dashboard.tables import PAGE_ROWS
from tests.dashboard.screens import opened, press
from tests.dashboard.test_rejected import refused_event
from tests.dashboard.test_whole_way import pick
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def addressed(console: RunningStack) -> RunningStack:
    """Definitions, and more people than a page shows."""
    for key in ("address_one", "address_two"):
        console.define("trait", key, "events.addressed.count")
    console.define("segment", "address_segment", "address_one >= 1")
    console.define("segment", "address_using", 'segment("address_segment")')
    batch = [
        {"type": "track", "event": "addressed", "userId": f"address-{number:03}"} for number in range(PAGE_ROWS * 2)
    ]
    assert console.call("POST", "/v1/batch", "write", json={"batch": batch}).status_code == 200
    wait_until(lambda: _people(console) == PAGE_ROWS * 2, "all are in the lake", 60)
    return console


@pytest.mark.deep
def test_a_part_of_a_page_is_of_no_other_page(addressed: RunningStack, signed_in: Page) -> None:
    """A link of the navigation opens its screen, and a row its thing, at the first part; Back opens what was open."""
    page = opened(addressed, signed_in, "/traits?key=address_one")
    _part(page, "History").click()
    expect(page.get_by_text("in force")).to_be_visible()
    assert _query(page) == {"key": "address_one", "tab": "History"}

    page.get_by_role("link", name="Segments").click()
    expect(page.get_by_role("heading", name="Segments")).to_be_visible()
    assert _query(page) == {}
    pick(page, "address_segment")
    expect(_part(page, "Definition")).to_have_attribute("data-selected", "true")
    assert _query(page) == {"key": "address_segment"}

    page.go_back()
    expect(page.get_by_role("heading", name="Segments")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="address_one")).to_be_visible()
    expect(_part(page, "History")).to_have_attribute("data-selected", "true")
    assert _query(page) == {"key": "address_one", "tab": "History"}
    page.go_back()
    expect(_part(page, "Definition")).to_have_attribute("data-selected", "true")
    assert _query(page) == {"key": "address_one"}


@pytest.mark.deep
def test_a_thing_of_a_list_is_opened_at_its_first_part(addressed: RunningStack, signed_in: Page) -> None:
    """Whatever part of another one was looked at. The way back leads to the list as it was left, and the navigation to
    the list as it is at first.
    """
    page = opened(addressed, signed_in, "/traits?find_trait=address_")
    pick(page, "address_one")
    _part(page, "History").click()
    expect(page.get_by_text("in force")).to_be_visible()
    page.get_by_role("button", name="Traits", exact=True).click()
    expect(page.get_by_role("searchbox")).to_have_value("address_")
    assert _query(page) == {"find_trait": "address_"}

    pick(page, "address_two")

    expect(page.get_by_role("heading", name="address_two")).to_be_visible()
    expect(_part(page, "Definition")).to_have_attribute("data-selected", "true")
    assert _query(page) == {"key": "address_two"}

    page.get_by_role("link", name="Traits").click()

    expect(page.get_by_role("searchbox")).to_have_value("")
    assert _query(page) == {}
    page.go_back()
    expect(page.get_by_role("heading", name="address_two")).to_be_visible()


@pytest.mark.deep
def test_a_link_to_another_of_the_same_kind_is_in_the_address(addressed: RunningStack, signed_in: Page) -> None:
    """So what is pressed there is pressed for that one, and Back leads to the first."""
    page = opened(addressed, signed_in, "/segments?key=address_segment")
    press(page.get_by_role("link", name="segment address_using"))
    expect(page.get_by_role("heading", name="address_using")).to_be_visible()
    assert _query(page) == {"key": "address_using"}

    press(_part(page, "History"))

    expect(page.get_by_text("in force")).to_be_visible()
    expect(page.get_by_role("heading", name="address_using")).to_be_visible()
    assert _query(page) == {"key": "address_using", "tab": "History"}
    page.go_back()
    expect(_part(page, "Definition")).to_have_attribute("data-selected", "true")
    page.go_back()
    expect(page.get_by_role("heading", name="address_segment")).to_be_visible()
    assert _query(page) == {"key": "address_segment"}


@pytest.mark.deep
def test_a_filter_of_a_persons_events_is_of_no_other_person(addressed: RunningStack, signed_in: Page) -> None:
    """Else the events of the next one look as if there were none."""
    page = opened(addressed, signed_in, "/users?q=address-00")
    pick(page, "user:address-001")
    _part(page, "Events").click()
    page.get_by_label("Name, in full").fill("another")
    expect(page.get_by_text("There are none of this name")).to_be_visible()
    page.get_by_role("button", name="Users", exact=True).click()
    expect(page.get_by_role("searchbox", name="Id")).to_have_value("address-00")

    pick(page, "user:address-002")
    expect(page.get_by_role("heading", name="user:address-002")).to_be_visible()
    _part(page, "Events").click()

    expect(page.get_by_label("Name, in full")).to_have_value("")
    expect(page.get_by_test_id("stExpander").first).to_contain_text("addressed")
    assert _query(page) == {"id": "user:address-002", "tab": "Events"}


@pytest.mark.deep
def test_another_search_begins_at_its_first_page(addressed: RunningStack, signed_in: Page) -> None:
    """The second page of one search is not that of the next."""
    page = opened(addressed, signed_in, "/users?q=address-&page=2")
    expect(page.get_by_text(f"{PAGE_ROWS * 2} people")).to_be_visible()
    page.get_by_role("searchbox").fill("address-0")

    expect(page.get_by_role("searchbox")).to_have_value("address-0")
    page.wait_for_url(lambda url: "page" not in parse_qs(urlsplit(url).query))
    expect(page.get_by_role("button", name="Page 1", exact=True)).to_have_attribute("aria-current", "page")


@pytest.mark.deep
def test_all_reasons_are_shown_again_after_one(addressed: RunningStack, signed_in: Page) -> None:
    """A reason that was clicked stays chosen in its table, and is not opened again by it."""
    for event in ({"userId": "address-000", "event": ""}, {"event": "addressed"}):
        assert addressed.call("POST", "/v1/track", "write", json=event).status_code == 400
    reason = refused_event(addressed, "address-000")["group"]
    page = opened(addressed, signed_in, "/rejected")
    pick(page, reason)
    expect(page.get_by_role("button", name="Send all of it again …")).to_be_visible()
    assert _query(page) == {"reason": reason}

    page.get_by_role("button", name="All reasons").click()

    expect(page.get_by_role("heading", name="Events", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Send all of it again …")).to_have_count(0)
    assert _query(page) == {}


def _part(page: Page, name: str) -> Locator:
    return page.get_by_role("radio", name=name, exact=True)


def _query(page: Page) -> dict[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def _people(console: RunningStack) -> int:
    return int(console.call("GET", "/v1/admin/users/search", params={"query": "address-"}).json()["total"])
