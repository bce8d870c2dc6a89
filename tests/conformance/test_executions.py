"""Every case, judged by the oracle, on every execution."""

from __future__ import annotations

from typing import Any

import pytest

from expressions.errors import ExpressionError
from tests.conformance.cases import Case, all_cases
from tests.executions import EXECUTIONS, Answered, bound, by_oracle

CASES = all_cases()
USER = "user:ada"
ANSWERED = [case for case in CASES if case.error is None]
REFUSED = [case for case in CASES if case.error is not None]
#: The same code on parts of the events or at other instants: a sixth of their cases is in every run, beside the random
#: ones of `tests/properties/test_executions_agree.py`.
VARIATIONS = {"Instants", "AsOf", "StateSplit", "Heavy"}
EACH = [pytest.param(name, marks=pytest.mark.deep(kept=400)) if name in VARIATIONS else name for name in EXECUTIONS]


def expected(value: Any) -> Any:
    """A JSON value as the language has it."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    return tuple(expected(item) for item in value) if isinstance(value, list) else float(value)


def to_the_bit(value: Any) -> str:
    """A text that is equal for values of equal types and bits: to Python 1.0 equals True, and -0.0 equals 0.0."""
    return repr(value)


def assert_answers(case: Case, answer: Answered) -> None:
    """The answer is the case's: in value, in the types of values, and in whether it is exact."""
    wanted = expected(case.value)
    assert (to_the_bit(answer.value), answer.exact) == (to_the_bit(wanted), case.exact), case.says


@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_the_oracle_agrees_with_the_case(case: Case) -> None:
    """The oracle's loops and ifs find what the case expects."""
    answer = by_oracle(bound(*case.definitions), {USER: case.events}, case.now, case.zone)[case.key][USER]

    assert_answers(case, answer)


@pytest.mark.parametrize("execution", EACH)
@pytest.mark.parametrize("case", ANSWERED, ids=lambda case: case.id)
def test_every_execution_gives_the_same_answer(case: Case, execution: str) -> None:
    """Every execution gives the same answer to one definition, bit for bit (D-13: three languages disagreed)."""
    users, bounds = {USER: case.events}, bound(*case.definitions)
    if execution == "Sql":  # each definition is a query of its own, which has what it rests on within it
        bounds = {case.key: bounds[case.key]}
    answer = EXECUTIONS[execution](bounds, users, case.now, case.zone)[case.key][USER]

    assert_answers(case, answer)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.id)
def test_what_is_wrong_is_refused_where_it_stands(case: Case) -> None:
    """A refusal has its code and its place, shows it, and says what would help."""
    assert case.error is not None
    with pytest.raises(ExpressionError) as caught:
        bound(*case.definitions)

    assert refusal(caught.value) == case.error, case.says


def refusal(error: ExpressionError) -> dict[str, Any]:
    """A refusal as cases have it: its place, and those of its other parts that it has."""
    parts = {"excerpt": list(error.excerpt), "expected": error.expected, "nearest": list(error.nearest)}
    place = {"code": error.code, "line": error.line, "column": error.column}
    return place | {name: part for name, part in parts.items() if part}


def test_ids_are_unique() -> None:
    """A case is found by its id."""
    assert len({case.id for case in CASES}) == len(CASES)
