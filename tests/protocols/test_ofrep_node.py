"""OpenFeature's JavaScript SDKs with their published OFREP providers, as they are, against a running stack."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.protocols.node_clients import NodeClients
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def defined(stack: RunningStack) -> RunningStack:
    """A stack with flags of each way to answer."""
    stack.define("trait", "ofjs_orders", "events.ofjs_order.count_30d")
    stack.define("flag", "ofjs_loyal", "ofjs_orders >= 2")
    stack.define("flag", "ofjs_static", "true")
    stack.define("flag", "ofjs_off", "true", enabled=False)
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def boolean(key: str, default: bool, **context: Any) -> dict[str, Any]:
    """A question of the server SDK's."""
    return {"type": "Boolean", "key": key, "default": default, "context": context}


def test_the_server_provider_reads_every_way_to_answer(defined: RunningStack, node_clients: NodeClients) -> None:
    """Values, reasons, variants and errors arrive as they are meant."""
    for n in range(2):
        defined.track("ofjs", "ofjs_order", messageId=f"ofjs-{n}")
    details = node_clients.run(
        "ofrep_node.cjs",
        host=defined.stack.api_url,
        headers={"Authorization": f"Bearer {defined.keys['read']}"},
        asked=[
            boolean("ofjs_loyal", False, targetingKey="ofjs", plan="pro"),
            boolean("ofjs_loyal", True, targetingKey="somebody"),
            boolean("ofjs_static", False),
            boolean("ofjs_off", True),
            boolean("ofjs_loyal", True),
            boolean("ofjs_unknown", True, targetingKey="ofjs"),
            {"type": "String", "key": "ofjs_static", "default": "code", "context": {}},
        ],
    )

    assert [(detail["value"], detail.get("reason"), detail.get("errorCode")) for detail in details] == [
        (True, "TARGETING_MATCH", None),
        (False, "UNKNOWN", None),
        (True, "STATIC", None),
        (False, "DISABLED", None),
        (True, "ERROR", "TARGETING_KEY_MISSING"),
        (True, "ERROR", "FLAG_NOT_FOUND"),
        ("code", "ERROR", "TYPE_MISMATCH"),
    ]
    assert (details[0]["variant"], details[1]["variant"]) == ("on", "off")


def test_the_web_provider_hears_of_a_change_by_the_etag(defined: RunningStack, node_clients: NodeClients) -> None:
    """The provider asks again with its tag, gets 304 while nothing changes, and the new answer after an event."""
    process = node_clients.start(
        "ofrep_web.cjs",
        host=defined.stack.api_url,
        headers={"X-API-Key": defined.keys["read"]},
        user="ofjs-web",
        flag="ofjs_loyal",
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        assert first, process.stderr.read()
        # At once: between two requests the provider may ask, and hear that something changed.
        orders = [
            {"type": "track", "userId": "ofjs-web", "event": "ofjs_order", "messageId": f"ofjs-web-{n}"}
            for n in range(2)
        ]
        assert defined.call("POST", "/v1/batch", "write", json={"batch": orders}).status_code == 200
        second = json.loads(process.stdout.readline())
        process.wait(30)
    finally:
        process.kill()
        process.communicate()

    assert json.loads(first)["value"] is False
    assert (second["value"], second["reason"], second["variant"]) == (True, "TARGETING_MATCH", "on")
    assert (second["statuses"][0], second["statuses"][-1]) == (200, 200)
    assert set(second["statuses"][1:-1]) == {304}
