"""A part that is used more than once is computed once, in every execution: the work is counted, not timed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.bases import Base, RawEvent, base_of
from expressions.batch.frames import answer_frame
from expressions.definitions import Bound, Definition, Key
from expressions.live.changes import Work, next_change_ms
from expressions.live.explain import explained
from expressions.live.to_state import Frame, Program
from expressions.rules.windows import HOUR_MS
from expressions.sql.to_sql import to_sql
from expressions.text.bind import bind
from tests.calls import calls
from tests.chance import part_of_examples
from tests.executions import EXECUTIONS, by_oracle, duckdb_connection, event_frame
from tests.history import Event

NOW = 1_772_366_400_000
EVENTS = [Event("track", "buy", NOW - HOUR_MS, {"v": 2})]

#: How a trait uses the one before it, with a beginning of its kind. Each way doubles what is used.
WAYS = {
    "sum": ("events.buy.count_30d", "{0} + {0}"),
    "remainder": ("events.buy.count_30d", "round({0} % 7, 2) + {0}"),
    "choice": ("events.buy.v.last", "if({0} == {0}, {0}, {0})"),
    "first": ("events.buy.v.last", "coalesce({0}, {0})"),
    "rule": ("events.buy.count_30d > 0", "!({0} && {0}) || {0} in [true] && {0} != {0}"),
    "age": ("last_seen_hours_ago > 3", "{0} == (last_seen_hours_ago > 3 || {0})"),
}


def chain(way: str, length: int) -> dict[Key, Bound]:
    """Traits s0, s1, …: each after the first uses the one before it at least twice."""
    first, use = WAYS[way]
    texts = [first, *(use.format(f"s{number}") for number in range(length))]
    return bind(Definition("trait", f"s{number}", text) for number, text in enumerate(texts))


def batch(bounds: dict[Key, Bound]) -> int:
    """The calls of Python that the batch takes, from events to answers."""
    rows = [
        {"seq": 1, "event_id": "a", "kind": "track", "name": "buy", "id": "user:a", "ts": NOW - 1, "received_at": NOW}
    ]
    return calls(lambda: answer_frame(event_frame(rows), list(bounds.values()), NOW))


def sql(bounds: dict[Key, Bound]) -> int:
    """The length of the SQL of the last trait."""
    last = list(bounds.values())[-1]
    return len(to_sql(last, "duckdb", NOW))


def state(bounds: dict[Key, Bound]) -> int:
    """The calls that it takes to compile the traits and to answer the last."""
    *_, key = bounds
    return calls(lambda: Program(bounds.values()).evaluate([base()], NOW, [key], "user:a"))


def next_change(bounds: dict[Key, Bound]) -> int:
    """The calls that the next change of the last trait takes."""
    last = list(bounds.values())[-1]
    frame = Frame(Program(bounds.values()), [base()], NOW, "user:a")
    return calls(lambda: next_change_ms(last.expr, frame, Work(2_000)))


def base() -> Base:
    return base_of([RawEvent(one.kind, one.name, one.ts_ms, dict(one.fields)) for one in EVENTS])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("execution", [batch, sql, state, next_change], ids=lambda execution: execution.__name__)
def test_work_grows_with_distinct_parts(way: str, execution: Callable[[dict[Key, Bound]], int]) -> None:
    """Ten traits more of a chain take as much more work as the ten before, though what they use is a thousand times
    as much."""
    execution(chain(way, 1))  # what is loaded and kept once
    few, more, most = (execution(chain(way, length)) for length in (5, 15, 25))

    assert most - more <= 1.5 * (more - few) + 200


@pytest.mark.parametrize("way", WAYS)
def test_a_long_chain_is_explained_by_distinct_parts(way: str) -> None:
    """An explanation tells each trait once, with its value, and spends no work on a part that it knows."""
    bounds = chain(way, 25)
    program = Program(bounds.values())
    few, more, most = (
        calls(lambda key=key: explained(bounds, key, Frame(program, [base()], NOW, "user:a")))
        for key in (("trait", "s5"), ("trait", "s15"), ("trait", "s25"))
    )

    assert most - more <= 3 * (more - few)  # the next change of a part takes as long as the part has parts


@part_of_examples(10)
@given(way=st.sampled_from(sorted(WAYS)), values=st.lists(st.integers(-2, 2), max_size=4))
def test_what_is_computed_once_is_what_it_would_be(way: str, values: list[int]) -> None:
    """Every execution answers a chain of doubled traits as the oracle does, which computes each use by itself."""
    bounds = chain(way, 5)
    users = {
        "user:a": [Event("track", "buy", NOW - number * HOUR_MS, {"v": v}) for number, v in enumerate(values)],
        "user:b": EVENTS,
    }
    judged = by_oracle(bounds, users, NOW, "UTC")
    for name, execution in EXECUTIONS.items():
        assert execution(bounds, users, NOW, "UTC") == judged, name


def test_the_sql_of_a_doubled_chain_runs() -> None:
    """DuckDB answers a trait that holds 2^25 uses of one event's count."""
    bounds = chain("sum", 25)
    connection = duckdb_connection()
    connection.register("events", event_frame([]).collect().to_arrow())
    assert connection.execute(to_sql(bounds["trait", "s25"], "duckdb", NOW)).fetchall() == []
