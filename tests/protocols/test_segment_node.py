"""Published Node clients of Segment's tracking API, as they are, against a running stack."""

from __future__ import annotations

import pytest

from tests.protocols.node_clients import NodeClients
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack that counts what the clients send."""
    stack.define("trait", "node_orders", "events.node_order.count")
    stack.define("trait", "node_spent", "events.node_order.amount.sum")
    stack.define("trait", "node_recent", "events.node_order.count_1h")
    stack.define("trait", "node_page", 'events["Page Viewed"].name.last')
    stack.define("trait", "node_screen", 'events["Screen Viewed"].name.last')
    stack.define("trait", "node_plan", "profile.node_plan")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


@pytest.mark.parametrize(("script", "plan"), [("segment_node.cjs", "pro"), ("rudder_node.cjs", "free")])
def test_a_node_client_sends_every_kind_of_call(
    defined: RunningStack, node_clients: NodeClients, script: str, plan: str
) -> None:
    """More calls than fit one batch arrive, each once and at its time; the client reports no error."""
    user = script.removesuffix(".cjs")
    report = node_clients.run(script, host=defined.stack.api_url, writeKey=defined.keys["write"], user=user, orders=40)

    assert report == {"errors": []}
    traits = defined.traits(user)["traits"]
    assert {key: value for key, value in traits.items() if key.startswith("node_")} == {
        "node_orders": 40,
        "node_spent": 20,
        "node_recent": 40,
        "node_page": "Install",
        "node_screen": "Cart",
        "node_plan": plan,
    }


def test_segment_says_that_an_unknown_key_is_refused(defined: RunningStack, node_clients: NodeClients) -> None:
    """The client reports the 401 as an error and does not repeat the request."""
    report = node_clients.run(
        "segment_node.cjs", host=defined.stack.api_url, writeKey="unknown", user="stranger", orders=1
    )

    assert report["errors"]
    assert all("401" in error for error in report["errors"])
