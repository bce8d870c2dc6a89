"""analytics.js in a real browser, as it is published, on a page of another origin than the stack's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.protocols.node_clients import NodeClients
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack that counts what the page sends."""
    stack.define("trait", "browser_orders", "events.browser_order.count")
    stack.define("trait", "browser_spent", "events.browser_order.amount.sum")
    stack.define("trait", "browser_page", 'events["Page Viewed"].name.last')
    stack.define("trait", "browser_screen", 'events["Screen Viewed"].name.last')
    stack.define("trait", "browser_plan", "profile.browser_plan")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


BATCHING = {"deliveryStrategy": {"strategy": "batching", "config": {"size": 3, "timeout": 200}}}


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(
    ("name", "settings", "paths"),
    [
        ("standard", {}, {"/v1/i", "/v1/t", "/v1/p", "/v1/s", "/v1/g"}),
        ("batching", {"integrations": {"Segment.io": BATCHING}}, {"/v1/b"}),
    ],
)
def test_a_page_sends_every_kind_of_call(
    defined: RunningStack,
    node_clients: NodeClients,
    browser: str,
    name: str,
    settings: dict[str, Any],
    paths: set[str],
) -> None:
    """The page loads its settings from the stack, asks before it sends, sends as text, and every call counts.

    So does what the browser sent before it said who the user is.

    D-37.
    """
    user, key = f"browser-{name}", defined.keys["write"]
    report = node_clients.run(
        "segment_browser.cjs",
        timeout_s=120,
        chromium=browser,
        host=defined.stack.api_url,
        writeKey=key,
        user=user,
        settings=settings,
    )

    assert report["failures"] == []
    assert {request["status"] for request in report["requests"] if request["method"] != "OPTIONS"} == {200}
    assert {request["path"] for request in report["requests"] if request["method"] == "POST"} - {"/v1/m"} == paths
    assert f"/v1/projects/{key}/settings" in {request["path"] for request in report["requests"]}

    def arrived() -> dict[str, Any]:
        traits = defined.traits(user)["traits"]
        return {key: value for key, value in traits.items() if key.startswith("browser_")}

    wait_until(lambda: arrived()["browser_screen"] and arrived()["browser_orders"] == 4, "all calls arrive")
    assert arrived() == {
        "browser_orders": 4,
        "browser_spent": 15,
        "browser_page": "Install",
        "browser_screen": "Cart",
        "browser_plan": "pro",
    }
