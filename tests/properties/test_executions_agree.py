"""Every execution agrees with the oracle on whatever can be said of whatever happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import assume, given

from expressions.definitions import DefinitionKind
from expressions.errors import ExpressionError
from tests.chance import part_of_examples
from tests.conformance.test_executions import to_the_bit
from tests.executions import EXECUTIONS, Bounds, bound, by_oracle
from tests.history import Event
from tests.strategies import NOW, catalogues, expressions, users

COST = {"Sql": 3}
Users = Mapping[str, Sequence[Event]]


def assert_agrees(execution: str, bounds: Bounds, given_users: Users, zone: str) -> None:
    """Every definition has the oracle's answer for every user."""
    expected = by_oracle(bounds, given_users, NOW, zone)
    answered = EXECUTIONS[execution](bounds, given_users, NOW, zone)
    for key, answers in expected.items():
        for user, expected_answer in answers.items():
            answer = answered[key][user]
            assert to_the_bit(answer) == to_the_bit(expected_answer), (key, user)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.timeout(600)
def test_an_execution_answers_as_the_oracle_does(execution: str, zone: str) -> None:
    """Values are equal in type and bits, for events in any order and cut anywhere."""

    @part_of_examples(COST.get(execution, 1))
    @given(text=expressions, given_users=users)
    def agrees(text: str, given_users: Users) -> None:
        try:
            bounds = bound(("trait", "it", text))
        except ExpressionError:
            assume(False)
        assert_agrees(execution, bounds, given_users, zone)

    agrees()


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.timeout(600)
def test_definitions_that_use_others_answer_as_the_oracle_does(execution: str) -> None:
    """A reference means what it refers to, at any remove, in traits, segments and flags alike."""

    @part_of_examples(3 * COST.get(execution, 1))
    @given(written=catalogues(), given_users=users)
    def agrees(written: list[tuple[DefinitionKind, str, str]], given_users: Users) -> None:
        assert_agrees(execution, bound(*written), given_users, "Europe/Berlin")

    agrees()
