"""A person's events, one below the other."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.dashboard.screens import opened, press
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


@pytest.mark.deep
def test_an_event_that_was_opened_stays_open_when_a_newer_one_comes(console: RunningStack, signed_in: Page) -> None:
    """The newer one stands above it, and is closed."""
    console.track("timeline-ada", "stepped", properties={"step": "older"})
    page = opened(console, signed_in, "/users?id=timeline-ada&tab=Events")
    press(_event(page, "older").locator("summary"))
    expect(_event(page, "older").locator("details")).to_have_attribute("open", "")
    console.track("timeline-ada", "stepped", properties={"step": "newer"})

    page.get_by_label("Name, in full").fill("stepped")  # what was asked for every name is remembered

    expect(_event(page, "newer")).to_be_visible()
    expect(_event(page, "older").locator("details")).to_have_attribute("open", "")
    expect(_event(page, "newer").locator("details")).not_to_have_attribute("open", "")


def _event(page: Page, step: str) -> Locator:
    return page.get_by_test_id("stExpander").filter(has=page.locator("summary", has_text=f"step {step}"))
