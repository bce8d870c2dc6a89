"""No execution lacks a node, a function or a monoid, and each aggregate and function has cases and a sentence."""

from __future__ import annotations

import inspect

import pytest

from expressions import ops
from expressions.aggregates import AGGREGATES
from expressions.batch import folds as polars_folds
from expressions.batch import frames, to_polars
from expressions.batch import functions as polars_functions
from expressions.functions import FUNCTIONS
from expressions.live import evaluate, lifting, monoids, to_state
from expressions.monoids import MONOIDS, Monoid
from expressions.ops import Aggregation, Call, Expr, walk
from expressions.sql import folds as sql_folds
from expressions.sql import functions as sql_functions
from expressions.sql import to_sql
from tests.conformance.cases import all_cases
from tests.executions import bound

#: Leaves that name columns or slots: executions resolve them where they stand, before they dispatch.
LEAVES = {"Attribute", "Property", "Aggregation", "Argument", "EventTime", "EventDay", "SlotValue", "Now"}
#: References are replaced when they are bound.
INLINED = {"TraitRef", "SegmentRef"}


def subclasses(base: type) -> list[type]:
    """Every class below this one."""
    return [found for one in base.__subclasses__() for found in (one, *subclasses(one))]


NODES = [one for one in subclasses(Expr) if one.__module__ == ops.__name__ and one.__name__ not in INLINED]


def test_the_list_of_monoids_is_closed() -> None:
    """Every monoid is in the list that executions are checked against."""
    assert set(subclasses(Monoid)) == set(MONOIDS)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_every_execution_knows_every_node(node: type[Expr]) -> None:
    """A node that an execution lacks would fail at run time, by name; here it fails first."""
    for modules, known in (
        ((to_polars,), to_polars._compiled.registry),
        ((to_state, lifting), {**to_state._compiled.registry, **evaluate.evaluator.registry}),
        ((to_sql,), to_sql.cell.registry),
    ):
        lacks = f"{modules[0].__name__} lacks {node.__name__}"
        assert node in known or node.__name__ in LEAVES, lacks
        if node.__name__ in LEAVES and node not in known:
            source = "".join(map(inspect.getsource, modules))
            assert node.__name__ in source or to_polars in modules, lacks


@pytest.mark.parametrize("monoid", MONOIDS, ids=lambda one: one.__name__)
def test_every_execution_knows_every_monoid(monoid: type[Monoid]) -> None:
    """So it is with monoids."""
    assert monoid in monoids.MONOIDS
    assert monoid in polars_folds.SIMPLE or monoid in polars_folds.FRAMES
    assert monoid in sql_folds.fold.registry


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_execution_knows_every_function(name: str) -> None:
    """And with functions."""
    assert name in evaluate.FUNCTIONS or name in inspect.getsource(to_state)
    of_batch = (to_polars, frames)  # with the node at hand, or while it folds
    assert name in polars_functions.FUNCTION or f'"{name}"' in "".join(map(inspect.getsource, of_batch))
    assert f'"{name}"' in inspect.getsource(sql_functions) + inspect.getsource(to_sql) + inspect.getsource(sql_folds)
    assert FUNCTIONS[name].says


def test_every_aggregate_and_function_has_a_case() -> None:
    """What nobody wrote a case for does not exist."""
    nodes = [
        node for case in all_cases() if case.error is None for node in walk(bound(*case.definitions)[case.key].expr)
    ]
    assert {node.aggregate for node in nodes if isinstance(node, Aggregation)} == set(AGGREGATES)
    public = {name for name, one in FUNCTIONS.items() if not one.internal}
    assert {node.function for node in nodes if isinstance(node, Call)} == public
    assert all(one.says for one in AGGREGATES.values())
