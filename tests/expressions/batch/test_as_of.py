"""Asked as of a time, the batch answers as it would have answered then."""

from __future__ import annotations

import pytest

from tests.executions import EXECUTIONS, bound, by_oracle
from tests.history import Event

NOW = 1_772_366_400_000


@pytest.mark.parametrize("execution", ["Polars", "Sql"])
def test_what_was_said_later_does_not_count_yet(execution: str) -> None:
    """Events and attributes after the time are as if they had not come."""
    bounds = bound(("trait", "plan", "profile.plan"), ("trait", "orders", "events.buy.count"))
    users = {
        "user:ada": [
            Event("identify", None, NOW - 1, {"plan": "basic"}),
            Event("identify", None, NOW + 1, {"plan": "pro"}),
            Event("track", "buy", NOW),
            Event("track", "buy", NOW + 1),
        ]
    }

    answers = EXECUTIONS[execution](bounds, users, NOW, "UTC")

    assert answers == by_oracle(bounds, users, NOW, "UTC")
    assert {key: values["user:ada"].value for (_, key), values in answers.items()} == {"plan": "basic", "orders": 1.0}
