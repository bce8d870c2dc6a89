"""The editor on the screens of definitions: made with the builder, changed as text."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.dashboard.editor.test_building import chosen
from tests.dashboard.screens import opened_dialog, press, settled
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


@pytest.mark.deep
def test_a_trait_is_made_with_the_builder_and_changed_as_text(defined: RunningStack, page: Page) -> None:
    """The button and Ctrl+S both save, after a look at the difference, and what is saved is formatted."""
    page.goto(f"{defined.stack.console_url}/traits?new=1")
    page.get_by_label("Key").fill(defined.keys["admin"])
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("Key").fill("editor_made")
    chosen(page, "Name of the event", "editor_order")
    expect(page.get_by_role("textbox", name="Expression")).to_have_text("events.editor_order.count")
    opened_dialog(page.get_by_role("button", name="Save …"))
    saved(page)
    expect(page.get_by_role("heading", name="editor_made")).to_be_visible(timeout=15_000)

    editor = page.get_by_role("textbox", name="Expression")
    expect(editor).to_have_text("events.editor_order.count")
    editor.fill("(events.editor_order.count_7d)*2")
    editor.press("Control+s")
    saved(page)

    expect(editor).to_have_text("events.editor_order.count_7d * 2")
    now = defined.call("GET", "/v1/admin/traits/editor_made").json()["trait"]
    assert now["expression"] == "events.editor_order.count_7d * 2"


def saved(page: Page) -> None:
    """Saves in the dialog, and waits for the screen of what was saved: the form before it has an editor, too."""
    press(page.get_by_role("dialog").get_by_role("button", name="Save", exact=True))
    expect(page.get_by_role("dialog")).to_have_count(0)
    settled(page)
