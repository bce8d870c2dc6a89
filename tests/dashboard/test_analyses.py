"""Analyses that end while somebody does something else on their screen."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from dashboard.analyses import KEPT, KEPT_MAX
from tests.dashboard.screens import Screens, opened, opened_dialog, press, texts
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def test_a_press_counts_though_an_analysis_has_just_ended(console: RunningStack, screens: Screens) -> None:
    """The screen was drawn a second time for the result, and the press was lost."""
    console.define("flag", "an_pressed", "events.an.count >= 1")
    app = screens.open("flags", key_="an_pressed")
    rollout = next(one for one in app.number_input if one.label.startswith("Rollout"))
    rollout.set_value(25.0).run()
    click(app, "Who is affected?")
    (question,) = app.session_state[KEPT]
    id = app.session_state[question]["id"]
    wait_until(lambda: console.call("GET", f"/v1/admin/analyses/{id}").json()["state"] == "done", "it has ended", 60)

    click(app, "Save …")

    assert "save it" in [button.key for button in app.button]
    assert "It changes nothing for anybody" in texts(app)


def test_the_impact_is_shown_of_what_is_new_switched_or_deleted(console: RunningStack, screens: Screens) -> None:
    """Before it is done, one at a time; what is new needs a rule first."""
    console.define("flag", "an_switched", "events.an.count >= 1")
    app = screens.open("flags", key_="an_switched")
    done: list[str] = []

    def impact_shown(app: AppTest, label: str) -> str:
        click(app, label)
        id = next(app.session_state[one]["id"] for one in app.session_state[KEPT] if one not in done)
        wait_until(lambda: console.call("GET", f"/v1/admin/analyses/{id}").json()["state"] == "done", label, 60)
        app.run()
        done.extend(app.session_state[KEPT])
        return texts(app)

    for label in ("Impact of the switch", "Who would miss it?"):
        assert impact_shown(app, label).count("It changes nothing for anybody") == 1

    new = screens.open("segments", new="1")
    next(one for one in new.text_input if one.label == "Key").set_value("an_made").run()
    assert "Who is affected?" not in [button.label for button in new.button]  # it has no rule
    new = screens.open("flags", new="1")  # without one it is for everybody
    next(one for one in new.text_input if one.label == "Key").set_value("an_made").run()
    assert " people, as of " in impact_shown(new, "Who is affected?")  # for how many it is follows from other tests


@pytest.mark.deep
def test_a_dialog_stays_open_when_an_analysis_ends(console: RunningStack, signed_in: Page) -> None:
    """What was typed in it stays, too; the result is there once it is closed."""
    console.define("flag", "an_open", "events.an.count >= 1")
    page = opened(console, signed_in, "/flags?key=an_open")
    page.get_by_label("Rollout").fill("25")
    page.get_by_label("Rollout").press("Enter")
    expect(page.get_by_text("Not saved yet")).to_be_visible()
    press(page.get_by_role("button", name="Who is affected?"))
    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    dialog.get_by_label("Note").fill("slowly")

    result = page.get_by_text("It changes nothing for anybody")
    expect(page.get_by_text("close the dialog to see it").or_(result)).to_be_attached()
    expect(dialog.get_by_label("Note")).to_have_value("slowly")
    page.keyboard.press("Escape")

    expect(dialog).to_have_count(0)
    expect(result).to_be_visible()


def test_of_many_results_the_oldest_go() -> None:
    """A tab keeps so many; what is looked at again after that is computed again."""

    def screen() -> None:
        import streamlit as st

        from dashboard.analyses import KEPT_MAX, keep

        for number in range(KEPT_MAX + 2):
            keep(f"analysis {number}", {"state": "done"})
        keep("analysis 2", {"state": "cancelled"})
        st.text(", ".join(sorted(str(name) for name in st.session_state if str(name).startswith("analysis "))))

    app = AppTest.from_function(screen, default_timeout=30).run()

    assert app.text[0].value == ", ".join(sorted(f"analysis {number}" for number in range(2, KEPT_MAX + 2)))


def click(app: AppTest, label: str) -> None:
    """Clicks a button."""
    next(one for one in app.button if one.label == label).click().run()
    assert not app.exception
