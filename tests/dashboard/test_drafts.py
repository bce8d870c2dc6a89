"""What somebody changed and did not save: kept wherever they go in their tab, said, and discarded at a click."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dashboard.answers import CHANGES
from dashboard.definitions.drafts import DRAFTS_MAX
from tests.dashboard.screens import Screens, opened, opened_dialog, texts
from tests.dashboard.screens import press as press_in_browser
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def at(app: AppTest, **query: str) -> AppTest:
    """The same screen at another address."""
    app.query_params.clear()
    app.query_params.update({name.rstrip("_"): value for name, value in query.items()})
    return app.run()


def described(app: AppTest, text: str) -> AppTest:
    """The form with another description."""
    return app.text_area[0].set_value(text).run()


def rollout(app: AppTest) -> Any:
    """The field of a flag's rollout."""
    return next(one for one in app.number_input if one.label.startswith("Rollout"))


def press(app: AppTest, label: str) -> AppTest:
    """The screen after a click."""
    return next(one for one in app.button if one.label == label).click().run()


def test_a_draft_is_there_again_after_another_part_and_another_definition(
    console: RunningStack, screens: Screens
) -> None:
    """Beside every screen it says that it is not saved; discarded it is as it was."""
    console.define("segment", "dr_one", "events.dr.count >= 1", description="before")
    console.define("segment", "dr_two", "events.dr.count >= 2")
    app = described(screens.open("segments", key_="dr_one"), "mine")
    assert "Not saved yet" in texts(app)

    for elsewhere in ({"key_": "dr_one", "tab": "History"}, {}, {"key_": "dr_two"}):
        assert "Unsaved in this tab: 1" in texts(at(app, **elsewhere)), elsewhere
        assert "Not saved yet" not in texts(app)
        at(app, key_="dr_one")
        assert app.text_area[0].value == "mine"
        assert "Not saved yet" in texts(app)

    press(app, "Discard")
    assert app.text_area[0].value == "before"
    assert "Unsaved" not in texts(app) and "Not saved yet" not in texts(app)


def test_a_draft_stands_on_what_somebody_else_saved(console: RunningStack, screens: Screens) -> None:
    """Both changes are in the form, and the page says whose came between."""
    console.define("segment", "dr_both", "events.dr.count >= 1")
    app = described(screens.open("segments", key_="dr_both"), "mine")
    theirs = console.call("PUT", "/v1/admin/segments/dr_both", json={"rule": "events.dr.count >= 1", "owner": "theirs"})
    app.session_state[CHANGES] = 99  # what was kept is asked for again

    app.run()

    assert f"Version {theirs.json()['segment']['version']} was saved by" in texts(app).replace("\\", "")
    owner = next(one for one in app.text_input if one.label == "Owner")
    assert (app.text_area[0].value, owner.value) == ("mine", "theirs")
    assert "Not saved yet" in texts(app)


@pytest.mark.deep
def test_a_new_definition_is_a_draft_from_the_first_word_on(console: RunningStack, screens: Screens) -> None:
    """With its key; of a flag with its options too. A form that nobody touched is none."""
    for kind in ("traits", "flags"):
        app = screens.open(kind, new="1")
        assert "Not saved yet" not in texts(app)
        next(one for one in app.text_input if one.label == "Key").set_value("dr_new").run()
        if kind == "flags":
            rollout(app).set_value(25.0).run()
        at(app)
        assert "Unsaved in this tab: 1" in texts(app)

        at(app, new="1")

        assert next(one for one in app.text_input if one.label == "Key").value == "dr_new"
        assert kind == "traits" or rollout(app).value == 25.0
        press(app, "Discard")
        assert next(one for one in app.text_input if one.label == "Key").value == ""
        assert kind == "traits" or rollout(app).value == 100.0


@pytest.mark.deep
def test_of_many_drafts_the_oldest_goes(console: RunningStack, screens: Screens) -> None:
    """There is a bound."""
    keys = [f"dr_many_{number:02}" for number in range(DRAFTS_MAX + 1)]
    for key in keys:
        console.define("trait", key, "events.dr.count")
    app = screens.open("traits", key_=keys[0])
    for key in keys:
        described(at(app, key_=key), "mine")

    assert f"Unsaved in this tab: {DRAFTS_MAX}" in texts(app)
    assert at(app, key_=keys[0]).text_area[0].value == ""
    assert at(app, key_=keys[1]).text_area[0].value == "mine"


@pytest.mark.deep
def test_an_expression_that_was_typed_is_kept_until_it_is_saved(console: RunningStack, signed_in: Page) -> None:
    """In the browser, with the editor; saved it is no draft any more."""
    console.define("trait", "dr_typed", "events.dr.count_30d")
    page = opened(console, signed_in, "/traits?key=dr_typed")
    text = page.get_by_role("textbox", name="Expression")
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.type(" + 1")
    expect(page.get_by_text("Not saved yet")).to_be_visible()

    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Users").click()
    expect(page.get_by_role("heading", name="Users", exact=True)).to_be_visible()
    page.get_by_role("link", name="trait dr_typed").click()

    expect(page.get_by_role("textbox", name="Expression")).to_have_text("events.dr.count_30d + 1")
    expect(page.get_by_text("Not saved yet")).to_be_visible()
    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    press_in_browser(dialog.get_by_role("button", name="Save", exact=True))
    expect(page.get_by_text("Saved: trait")).to_be_visible()
    expect(page.get_by_text("Unsaved in this tab")).to_have_count(0)
    assert console.call("GET", "/v1/admin/traits/dr_typed").json()["trait"]["expression"] == "events.dr.count_30d + 1"
