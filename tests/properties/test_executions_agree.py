"""Every execution agrees with the oracle on whatever can be said of whatever happened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings

from expressions.errors import ExpressionError
from tests.conformance.test_executions import kinds
from tests.executions import EXECUTIONS, bound, by_oracle
from tests.history import Event
from tests.strategies import NOW, expressions, users

EXAMPLES = int(os.environ.get("TINYCDP_EXAMPLES", "150"))
COST = {"Sql": 3}


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.timeout(600)
def test_an_execution_answers_as_the_oracle_does(execution: str, zone: str) -> None:
    """Values are equal in type and bits, for events in any order and cut anywhere."""

    @settings(
        max_examples=EXAMPLES // COST.get(execution, 1),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )
    @given(text=expressions, given_users=users)
    def agrees(text: str, given_users: Mapping[str, Sequence[Event]]) -> None:
        try:
            bounds = bound(("trait", "it", text))
        except ExpressionError:
            assume(False)
        key = ("trait", "it")
        judged = by_oracle(bounds, given_users, NOW, zone)[key]
        found = EXECUTIONS[execution](bounds, given_users, NOW, zone)[key]
        for user, one in judged.items():
            assert (found[user], kinds(found[user].value)) == (one, kinds(one.value)), user

    agrees()
