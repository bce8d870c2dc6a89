"""A preview reads only what its expression needs, and answers as if it read all."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence

import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from expressions.aggregates import AGGREGATES
from expressions.batch.counting import counted, counted_for
from expressions.batch.frames import answer_frame, event_frame, values_of
from expressions.errors import ExpressionError
from expressions.plan import plan
from tests.chance import part_of_examples
from tests.executions import bound, frame_rows
from tests.history import Event
from tests.strategies import NOW, expressions, users

simple = st.sampled_from(
    [
        "events.x.count_7d",
        "count",
        "last_seen_days_ago",
        "events.x.v.sum",
        "profile.p",
        "events.x.where(w).count",
        "true",
    ]
)


@part_of_examples(3)
@given(text=simple | expressions, given_users=users)
def test_rows_that_nothing_reads_change_no_answer(text: str, given_users: Mapping[str, Sequence[Event]]) -> None:
    """Repeats, imports and ids without a row that counts among them."""
    try:
        bounds = list(bound(("trait", "it", text)).values())
    except ExpressionError:
        assume(False)
    events = event_frame(frame_rows(given_users))
    needed = counted_for(events, plan(trait.expr for trait in bounds), NOW)

    of_all = answer_frame(counted(events), bounds, NOW).sort("id")
    assert answer_frame(needed, bounds, NOW).sort("id").equals(of_all)


def test_who_came_back_after_a_delete_has_an_answer() -> None:
    """Though all that is left of them is of names that nothing reads."""
    rows = [
        {"seq": 1, "event_id": "a", "kind": "track", "name": "x", "id": "user:back", "ts": NOW - 3, "received_at": 1},
        {"seq": 2, "event_id": "b", "kind": "delete", "name": None, "id": "user:back", "ts": NOW - 2, "received_at": 2},
        {"seq": 3, "event_id": "c", "kind": "track", "name": "y", "id": "user:back", "ts": NOW - 1, "received_at": 3},
        {"seq": 4, "event_id": "d", "kind": "track", "name": "x", "id": "user:gone", "ts": NOW - 3, "received_at": 4},
        {"seq": 5, "event_id": "e", "kind": "delete", "name": None, "id": "user:gone", "ts": NOW - 2, "received_at": 5},
    ]
    bounds = list(bound(("trait", "it", "events.x.count")).values())
    answers = answer_frame(counted_for(event_frame(rows), plan(trait.expr for trait in bounds), NOW), bounds, NOW)

    assert values_of(answers, ("trait", "it")) == {"user:back": 0}


@pytest.mark.parametrize(("text", "is_read"), [("events.x.count_7d", False), ("events.x.v.sum", True)])
def test_fields_are_read_only_when_asked_for(text: str, is_read: bool) -> None:
    """The map of an event's fields is most of its bytes."""
    needed = counted_for(event_frame([]), plan(trait.expr for trait in bound(("trait", "it", text)).values()), NOW)
    assert ("props" in needed.collect_schema()) is is_read


def test_an_answer_lets_go_of_its_rows() -> None:
    """What only the next collection of garbage frees is gigabytes, where one preview follows the other."""
    texts = [f"events.x.v.{name}" for name in AGGREGATES] + ["last_seen_days_ago > 30", "profile.p.q"]
    bounds = list(bound(*(("trait", f"it_{number}", text) for number, text in enumerate(texts))).values())
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        answer_frame(counted(event_frame([])), bounds, NOW)
        gc.collect()
        kept = [frame for frame in gc.garbage if isinstance(frame, (pl.LazyFrame, pl.DataFrame))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert kept == []
