"""What several tests of a running API share."""

from __future__ import annotations

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until


@pytest.fixture(scope="session")
def people(stack: RunningStack) -> RunningStack:
    """A stack that counts visits and knows a city; for tests of the group "stack"."""
    stack.define("trait", "visits", "events.visit.count")
    stack.define("trait", "home_city", "profile.city")
    stack.define("flag", "returning", "visits >= 2")
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack
