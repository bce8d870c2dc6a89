"""The whole way without a mouse: by Tab, Enter, Escape and letters alone, in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboard.screens import opened, settled
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(480)]

#: Stops of Tab on a page, from any place to any other.
STOPS_MAX = 120


def tab_to(page: Page, place: Locator, *, back: bool = False) -> None:
    """Presses Tab until a place has the focus, once the page is drawn: until then it shows what was there before."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(place).to_have_count(1)
    for _ in range(STOPS_MAX):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if place.evaluate("one => one === document.activeElement || one.contains(document.activeElement)"):
            return
    raise AssertionError(f"Tab does not come to {place}")


def enter(page: Page, place: Locator) -> None:
    """Goes to a button or a link, and presses Enter."""
    tab_to(page, place)
    page.keyboard.press("Enter")


def choose(page: Page, list_: Locator, text: str) -> None:
    """Goes to a list, types what is wanted, and takes it by Enter."""
    tab_to(page, list_)
    page.keyboard.type(text)
    expect(page.get_by_role("option").first).to_contain_text(text)
    page.keyboard.press("Enter")


def row(page: Page) -> Locator:
    """The list that opens a row of the table."""
    return page.get_by_role("combobox", name="Open a row")


def open_part(page: Page, name: str) -> None:
    """Goes to the parts of a page, of which Tab reaches the chosen one, and by arrows to another."""
    part = page.get_by_role("radio", name=name, exact=True)
    tab_to(page, page.get_by_role("radiogroup").filter(has=part))
    for _ in range(STOPS_MAX):
        if part.evaluate("one => one === document.activeElement"):
            page.keyboard.press("Space")
            expect(part).to_be_checked()
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(f"arrows do not come to {name}")


def link(page: Page, name: str) -> Locator:
    """A screen in the navigation."""
    return page.get_by_test_id("stSidebarNav").get_by_role("link", name=name)


@pytest.mark.deep
def test_from_the_sign_in_to_a_flag_that_is_off(console: RunningStack, page: Page) -> None:
    """Signs in, builds a trait and saves it, finds a user, reads why a flag allows them, and switches the flag off."""
    console.track("keys-ada", "keyed", properties={"amount": 30})
    console.track("keys-bob", "keyed", properties={"amount": 5})
    console.define("flag", "keyed_flag", "events.keyed.amount.sum_30d >= 10")
    search = "/v1/admin/users/search?query=keys-"
    wait_until(lambda: console.call("GET", search).json()["total"] == 2, "both are there")

    page.goto(f"{console.stack.console_url}/sign-in")
    key = page.get_by_label("Key", exact=True)
    expect(key).to_be_focused()
    page.keyboard.type(console.keys["admin"])
    expect(key).to_have_value(console.keys["admin"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()

    enter(page, link(page, "Traits"))
    expect(page.get_by_role("heading", name="Traits")).to_be_visible()
    enter(page, page.get_by_role("button", name="New trait"))
    build_a_trait(page)
    saved = console.call("GET", "/v1/admin/traits/keyed_spent").json()["trait"]
    assert saved["expression"] == "events.keyed.amount.sum_30d"

    find_a_user(page)
    enter(page, link(page, "Flags"))
    expect(page.get_by_role("heading", name="Flags")).to_be_visible()
    choose(page, row(page), "keyed_flag")
    expect(page.get_by_role("heading", name="keyed_flag")).to_be_visible()
    enter(page, page.get_by_role("button", name="Switch off …"))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert console.decide("keys-ada", "keyed_flag")["allow"] is True
    enter(page, dialog.get_by_role("button", name="Switch off"))
    expect(page.get_by_role("button", name="Switch on …")).to_be_visible()
    assert console.decide("keys-ada", "keyed_flag")["reason"] == "DISABLED"


def build_a_trait(page: Page) -> None:
    """With the builder."""
    text = page.get_by_role("textbox", name="Expression")
    tab_to(page, page.get_by_label("Key", exact=True))
    page.keyboard.type("keyed_spent")
    choose(page, page.get_by_role("combobox", name="Name of the event"), "keyed")
    expect(text).to_have_text("events.keyed.count")
    choose(page, page.get_by_role("combobox", name="Aggregate"), "sum")
    choose(page, page.get_by_role("combobox", name="Property"), "amount")
    expect(text).to_have_text("events.keyed.amount.sum")
    choose(page, page.get_by_role("combobox", name="Within"), "30d")
    expect(text).to_have_text("events.keyed.amount.sum_30d")
    enter(page, page.get_by_role("button", name="Save …"))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    enter(page, dialog.get_by_role("button", name="Save", exact=True))
    expect(page.get_by_role("heading", name="keyed_spent")).to_be_visible()


def find_a_user(page: Page) -> None:
    """By a part of the id, and then why a flag allows them."""
    enter(page, link(page, "Users"))
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_visible()
    tab_to(page, page.get_by_role("searchbox"))
    page.keyboard.type("keys-")
    page.wait_for_url("**/users?q=keys-")  # each letter may be a search of its own, whose table goes with the next one
    expect(page.get_by_text("2 people")).to_be_visible()
    settled(page)  # the number comes before the table of these two, whose list of rows is another one
    choose(page, row(page), "user:keys-ada")
    expect(page.get_by_role("heading", name="user:keys-ada")).to_be_visible()
    open_part(page, "Decisions")
    # The part before has a list of rows, too, until this one is drawn.
    expect(page.get_by_text("Click on a flag to see why.")).to_be_visible()
    choose(page, row(page), "keyed_flag")
    expect(page.get_by_role("listitem").filter(has_text="events.keyed.amount.sum_30d").last).to_contain_text("30")


@pytest.mark.deep
def test_letters_are_no_shortcuts(console: RunningStack, signed_in: Page) -> None:
    """`r` and `c` make nothing run again: on a button, with a list open, and with nothing in focus."""
    sent: list[str | bytes] = []
    signed_in.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    console.define("trait", "keys_letters", "events.keyed.count")
    page = opened(console, signed_in, "/traits?key=keys_letters")
    expect(page.locator(".verdict")).to_contain_text("Valid")
    before = len(sent)
    page.keyboard.type("rcRC")
    tab_to(page, page.get_by_role("button", name="Delete"))
    page.keyboard.type("rcRC")
    tab_to(page, page.get_by_role("combobox", name="Tags"))
    page.keyboard.press("ArrowDown")
    page.get_by_role("listbox").or_(page.get_by_text("No results")).first.dispatch_event("keydown", {"key": "r"})
    page.keyboard.press("Escape")
    assert len(sent) == before

    enter(page, page.get_by_role("button", name="Delete"))
    expect(page.get_by_role("dialog")).to_contain_text("keys_letters")
    assert len(sent) > before
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
