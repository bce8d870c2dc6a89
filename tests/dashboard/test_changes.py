"""What people do in a real browser, end to end: change, switch, look somebody up, delete."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.screens import opened, opened_dialog, press
from tests.dashboard.test_whole_way import pick
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

#: How much a text stands out from what is behind it, as WCAG counts it: 4.5 is enough to be read.
CONTRAST = """(text) => {
  const pen = document.createElement("canvas").getContext("2d");
  const light = (colours) => {
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = [];
  for (let one = text; one; one = one.parentElement) behind.unshift(getComputedStyle(one).backgroundColor);
  const ground = light(["white", ...behind]), letters = light([getComputedStyle(text).color]);
  return (Math.max(ground, letters) + 0.05) / (Math.min(ground, letters) + 0.05);
}"""


def test_a_change_is_looked_at_before_it_is_saved(console: RunningStack, signed_in: Page) -> None:
    """The difference is shown, a note is kept, and the next version is in force."""
    made = console.define("trait", "seen_before", "events.purchase.count_30d")
    page = opened(console, signed_in, "/traits?key=seen_before")
    page.get_by_label("Description").fill("Orders of a month")
    page.get_by_label("Description").press("Control+Enter")
    expect(page.get_by_text("Not saved yet")).to_be_visible()
    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    expect(dialog).to_contain_text("+description: Orders of a month")
    dialog.get_by_label("Note").fill("for the newsletter")
    dialog.get_by_label("Note").press("Enter")
    press(dialog.get_by_role("button", name="Save", exact=True))
    expect(page.get_by_text("Saved: trait")).to_be_visible()

    now = console.call("GET", "/v1/admin/traits/seen_before").json()["trait"]
    assert (now["description"], now["expression"]) == ("Orders of a month", made["expression"])
    assert now["version"] > made["version"]


@pytest.mark.deep
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_difference_can_be_read_in_either_theme(
    console: RunningStack, signed_in: Page, theme: Literal["dark", "light"]
) -> None:
    """In a dialog, too, which is drawn beside the page: there it was dark red on black."""
    key = f"read_{theme}"
    console.define("trait", key, "events.purchase.count_7d", description="before")
    signed_in.emulate_media(color_scheme=theme)
    page = opened(console, signed_in, f"/traits?key={key}")
    page.get_by_label("Description").fill("after")
    page.get_by_label("Description").press("Control+Enter")
    expect(page.get_by_text("Not saved yet")).to_be_visible()
    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    for sign in ("deleted", "inserted"):
        token = dialog.locator(f"[data-testid=stCode] .token.{sign}").first
        expect(token).to_be_visible()
        assert token.evaluate(CONTRAST) >= 4.5, sign


@pytest.mark.deep
def test_a_save_over_somebody_elses_shows_theirs(console: RunningStack, signed_in: Page) -> None:
    """Nothing is overwritten: the screen says who saved what meanwhile."""
    console.define("segment", "contested", "events.purchase.count_30d >= 2")
    page = opened(console, signed_in, "/segments?key=contested")
    page.get_by_label("Description").fill("mine")
    page.get_by_label("Description").press("Control+Enter")
    expect(page.get_by_text("Not saved yet")).to_be_visible()
    theirs = {"rule": "events.purchase.count_30d >= 3"}
    assert console.call("PUT", "/v1/admin/segments/contested", json=theirs).status_code == 200

    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    press(dialog.get_by_role("button", name="Save", exact=True))

    expect(dialog).to_contain_text("+rule: events.purchase.count_30d >= 3")
    assert console.call("GET", "/v1/admin/segments/contested").json()["segment"]["description"] == ""


@pytest.mark.deep
def test_a_flag_is_switched_off_after_a_question(console: RunningStack, signed_in: Page) -> None:
    """Only the second click counts, and decisions change at once. The history has the note."""
    console.define("flag", "kill_switch", "true")
    page = opened(console, signed_in, "/flags?key=kill_switch")
    dialog = opened_dialog(page.get_by_role("button", name="Switch off …"))
    assert console.decide("ada", "kill_switch")["allow"] is True
    dialog.get_by_label("Note").fill("it sells what is sold out")
    dialog.get_by_label("Note").press("Enter")

    press(dialog.get_by_role("button", name="Switch off"))

    expect(page.get_by_role("button", name="Switch on …")).to_be_visible()
    assert console.decide("ada", "kill_switch")["reason"] == "DISABLED"

    def notes() -> list[str | None]:
        found = console.call("GET", "/v1/admin/flags/kill_switch/history").json()["versions"]
        return [version["note"] for version in found]

    wait_until(lambda: "it sells what is sold out" in notes(), "the lake has the note", 60)


@pytest.mark.deep
def test_a_flag_is_switched_off_though_somebody_saved_it_meanwhile(console: RunningStack, signed_in: Page) -> None:
    """The first try says that there is another version; the second counts, and does not begin from the old one."""
    console.define("flag", "kill_late", "true")
    page = opened(console, signed_in, "/flags?key=kill_late")
    assert console.call("PUT", "/v1/admin/flags/kill_late", json={"description": "theirs"}).status_code == 200
    dialog = opened_dialog(page.get_by_role("button", name="Switch off …"))
    press(dialog.get_by_role("button", name="Switch off"))
    expect(dialog.get_by_role("alert")).to_be_visible()
    assert console.decide("ada", "kill_late")["allow"] is True
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)

    opened_dialog(page.get_by_role("button", name="Switch off …"))
    press(dialog.get_by_role("button", name="Switch off"))

    expect(page.get_by_role("button", name="Switch on …")).to_be_visible()
    assert console.decide("ada", "kill_late")["reason"] == "DISABLED"


@pytest.mark.deep
def test_a_flag_whose_rule_is_cleared_is_for_everybody(console: RunningStack, signed_in: Page) -> None:
    """As the editor says of an empty rule."""
    console.define("flag", "cleared", "events.purchase.count >= 1000000")
    page = opened(console, signed_in, "/flags?key=cleared")
    rule = page.get_by_role("textbox", name="Rule")
    expect(rule).to_contain_text("purchase")
    rule.fill("")
    expect(page.get_by_text("Empty: it holds for everybody.")).to_be_visible()
    expect(page.get_by_text("Not saved yet")).to_be_visible()
    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    press(dialog.get_by_role("button", name="Save", exact=True))

    expect(page.get_by_text("Saved: flag")).to_be_visible()
    assert console.decide("ada", "cleared")["reason"] == "STATIC"


@pytest.mark.deep
def test_an_older_version_is_brought_back_after_a_look(console: RunningStack, signed_in: Page) -> None:
    """What will differ is shown first; it is a new version, with its note."""
    console.define("trait", "brought_back", "events.purchase.count_7d")
    assert console.call("PUT", "/v1/admin/traits/brought_back", json={"expression": "1"}).status_code == 200
    page = opened(console, signed_in, "/traits?key=brought_back&tab=History")
    dialog = opened_dialog(page.get_by_role("button", name="Bring back"))
    expect(dialog).to_contain_text("+expression: events.purchase.count_7d")
    dialog.get_by_label("Note").fill("it was better")
    dialog.get_by_label("Note").press("Enter")
    press(dialog.get_by_role("button", name="Bring back"))

    expect(page.get_by_text("Brought back: version")).to_be_visible()
    versions = console.call("GET", "/v1/admin/traits/brought_back/history").json()["versions"]
    assert [one["expression"] for one in versions] == ["events.purchase.count_7d", "1", "events.purchase.count_7d"]
    assert versions[0]["note"] == "it was better"


@pytest.mark.deep
def test_a_definition_that_others_use_is_not_deleted_and_another_one_once_its_key_is_typed(
    console: RunningStack, signed_in: Page
) -> None:
    """What uses it is named, with the way there."""
    console.define("trait", "needed_here", "events.purchase.count_7d")
    console.define("segment", "needs_it", "needed_here >= 1")
    page = opened(console, signed_in, "/traits?key=needed_here")
    dialog = opened_dialog(page.get_by_role("button", name="Delete"))
    expect(dialog).to_contain_text("cannot be deleted while others use it")
    press(dialog.get_by_role("link", name="segment needs_it"))
    expect(page.get_by_role("heading", name="needs_it")).to_be_visible()

    opened_dialog(page.get_by_role("button", name="Delete"))
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    dialog.get_by_label("to delete it").fill("needs_it")
    dialog.get_by_label("to delete it").press("Enter")
    press(dialog.get_by_role("button", name="Delete"))

    expect(page.get_by_text("Deleted: segment")).to_be_visible()
    assert console.call("GET", "/v1/admin/segments/needs_it").status_code == 404


@pytest.mark.deep
def test_somebody_is_found_explained_and_deleted_by_their_id(console: RunningStack, signed_in: Page) -> None:
    """A click in the list opens that person; the id must be typed before the person is deleted."""
    console.define("flag", "for_found", "events.found.count_30d >= 1")
    for user in ("found-ada", "found-bob"):
        console.track(user, "found")
    wait_until(lambda: _found(console, "found-") == 2, "the search finds both", 60)
    page = opened(console, signed_in, "/users?q=found-bob")
    pick(page, "user:found-bob")
    expect(page.get_by_role("heading", name="user:found-bob")).to_be_visible()
    assert page.url.endswith("/users?id=user%3Afound-bob")

    page = opened(console, signed_in, "/users?id=user%3Afound-bob&tab=Decisions&flag=for_found")
    expect(page.get_by_text("events.found.count_30d").first).to_be_visible()

    page = opened(console, signed_in, "/users?id=user%3Afound-bob&tab=Download%2C+delete")
    dialog = opened_dialog(page.get_by_role("button", name="Delete this person …"))
    expect(dialog.get_by_role("button", name="Delete for good")).to_be_disabled()
    dialog.get_by_label("Type the id").fill("user:found-bob")
    dialog.get_by_label("Type the id").press("Enter")
    press(dialog.get_by_role("button", name="Delete for good"))
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_visible()
    assert _found(console, "found-") == 1


@pytest.mark.deep
def test_a_key_is_shown_once(console: RunningStack, signed_in: Page) -> None:
    """It works; after the dialog was closed nobody reads it any more."""
    page = opened(console, signed_in, "/settings")
    dialog = opened_dialog(page.get_by_role("button", name="New key"))
    press(dialog.get_by_role("button", name="Make it"))
    key = dialog.get_by_test_id("stCode").inner_text().strip()
    sent = {"userId": "key-user", "event": "made_with_it"}
    answer = console.http.post("/v1/track", json=sent, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, key

    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert key not in page.content()


def _found(console: RunningStack, text: str) -> int:
    answer = console.call("GET", "/v1/admin/users/search", params={"query": text})
    return int(answer.json()["total"])
