"""An API that does not answer is said, and its screen is there again by itself."""

from __future__ import annotations

import os
import signal

import pytest
from playwright.sync_api import Page, expect

from tests.faults.parts import pid_of
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def test_a_screen_comes_back_once_the_api_answers(console: RunningStack, signed_in: Page) -> None:
    """Without a click."""
    console.define("trait", "aw_trait", "events.aw.count")
    pid = pid_of(console, "api")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        signed_in.goto(f"{console.stack.console_url}/traits?key=aw_trait")
        expect(signed_in.get_by_text("The API does not answer").first).to_be_visible()
        expect(signed_in.get_by_text("whether the API answers again")).to_be_visible()
    finally:
        os.kill(pid, signal.SIGCONT)

    expect(signed_in.get_by_role("heading", name="aw_trait")).to_be_visible()
    expect(signed_in.get_by_text("whether the API answers again")).to_have_count(0)


@pytest.mark.deep
def test_a_screen_comes_back_once_redis_is_there(console: RunningStack, signed_in: Page) -> None:
    """Where the API itself answers, and says that a part is away."""
    pid = pid_of(console, "redis")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        signed_in.goto(f"{console.stack.console_url}/users?id=aw-nobody")
        expect(signed_in.get_by_text("whether the API answers again")).to_be_visible()
    finally:
        os.kill(pid, signal.SIGCONT)

    expect(signed_in.get_by_text("not found")).to_be_visible()
