"""A preview reads only what its expression needs, and answers as if it read all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from expressions.errors import ExpressionError
from expressions.frames import answer_frame, counted, event_frame, needed_rows
from expressions.plan import plan
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


@settings(max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(text=simple | expressions, given_users=users)
def test_rows_that_nothing_reads_change_no_answer(text: str, given_users: Mapping[str, Sequence[Event]]) -> None:
    """Repeats, imports and ids without a row that counts among them."""
    try:
        bounds = list(bound(("trait", "it", text)).values())
    except ExpressionError:
        assume(False)
    events = event_frame(frame_rows(given_users))
    needed = needed_rows(events, plan(one.expr for one in bounds))

    of_all = answer_frame(counted(events), bounds, NOW).sort("id")
    assert answer_frame(counted(needed), bounds, NOW).sort("id").equals(of_all)


@pytest.mark.parametrize(("text", "is_read"), [("events.x.count_7d", False), ("events.x.v.sum", True)])
def test_fields_are_read_only_when_asked_for(text: str, is_read: bool) -> None:
    """The map of an event's fields is most of its bytes."""
    needed = needed_rows(event_frame([]), plan(one.expr for one in bound(("trait", "it", text)).values()))
    assert ("props" in needed.collect_schema()) is is_read
