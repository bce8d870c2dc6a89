"""What the package gives to the tests of apps: a client that records, and a stack."""

from __future__ import annotations

import pytest
import tinycdp
from tinycdp.pytest_plugin import Stack, tinycdp_stack
from tinycdp.testing import RecordingClient

__all__ = ["tinycdp_stack"]


def test_a_recording_client_keeps_events_and_answers_what_the_test_says() -> None:
    """Events are as the wire has them, what is no JSON is refused, and flags are values or functions of the user."""
    cdp = RecordingClient(
        flags={"on": True, "plan": lambda user: "pro" if user == "ada" else "free"}, user_traits={"ada": {"orders": 2}}
    )

    sent = cdp.track("ada", "bought", {"amount": 3})
    refused = cdp.track("ada", "bought", {"amount": object()})

    assert (sent.state, refused.state) == ("sent", "refused")
    assert [(event["userId"], event["event"], event["properties"]) for event in cdp.events] == [
        ("ada", "bought", {"amount": 3})
    ]
    assert cdp.decide("ada", "on", False, after=sent)
    assert [cdp.decide(user, "plan", "?").value for user in ("ada", "eve")] == ["pro", "free"]
    assert cdp.decide("ada", "none", "default").error_code == "FLAG_NOT_FOUND"
    assert set(cdp.decide_all("eve")) == {"on", "plan"}
    assert cdp.traits("ada")["traits"] == {"orders": 2}
    assert cdp.close().sent == 1


@pytest.mark.deep
@pytest.mark.xdist_group("sdk_stack")
def test_the_fixture_runs_a_real_stack(tinycdp_stack: Stack) -> None:
    """An event is acknowledged and its trait is live; the client of the stack reads traits too."""
    with tinycdp.Admin(tinycdp_stack.url, tinycdp_stack.admin_key) as admin:
        admin.create_trait("orders", "events.bought.count")

    with tinycdp_stack.client() as cdp:
        assert cdp.track("ada", "bought").wait(10) == "sent"
        assert "orders" in cdp.traits("ada")["traits"]
