"""Rows with an instant of their own are answered as a question about that instant alone would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.counting import counted, counted_for
from expressions.batch.frames import answer_frame, event_frame
from expressions.definitions import DefinitionKind
from expressions.plan import plan
from expressions.rules.windows import Zone
from tests.chance import part_of_examples
from tests.executions import bound, frame_rows
from tests.history import Event
from tests.strategies import DAY, NOW, catalogues, users

#: Clocks were put back there on 25 October 2026, so a date has 25 hours; windows of dates begin at midnight.
BERLIN = Zone("Europe/Berlin")

instants = st.sampled_from([0, 1, -1, 60_000, -DAY, DAY + 1, -7 * DAY, 30 * DAY, 238 * DAY, -1_000 * DAY])


def asked(*pairs: tuple[str, int]) -> pl.DataFrame:
    """The rows that are asked for."""
    return pl.DataFrame(pairs, schema={"id": pl.String, "now": pl.Int64}, orient="row")


@part_of_examples(3)
@given(
    definitions=catalogues(),
    given_users=users,
    ages=st.lists(
        st.tuples(st.sampled_from(["user:ada", "user:bob", "user:nobody"]), instants), min_size=1, max_size=6
    ),
    zone=st.sampled_from([Zone(), BERLIN]),
)
def test_a_row_is_answered_as_of_its_own_instant(
    definitions: list[tuple[DefinitionKind, str, str]],
    given_users: Mapping[str, Sequence[Event]],
    ages: list[tuple[str, int]],
    zone: Zone,
) -> None:
    """Also where an id is asked for at many instants, at one of them twice, or has no row at all."""
    bounds = list(bound(*definitions).values())
    events = event_frame(frame_rows(given_users))
    pairs = asked(*[(id, NOW + age) for id, age in ages])
    needed = plan(one.expr for one in bounds)
    rows = counted_for(events, needed, min(pairs["now"]), zone, latest_ms=max(pairs["now"]))

    answers = answer_frame(rows, bounds, pairs, zone).sort("id", "now")

    alone = [
        answer_frame(counted(events), bounds, now, zone)
        .filter(pl.col("id") == id)
        .insert_column(1, pl.lit(now, dtype=pl.Int64).alias("now"))
        for id, now in pairs.iter_rows()
    ]
    assert answers.equals(pl.concat(alone).sort("id", "now"))


def test_nobody_is_asked_for() -> None:
    """No rows are asked for, and none are answered."""
    bounds = list(bound(("trait", "it", "events.x.v.sum_7d")).values())

    assert answer_frame(counted(event_frame([])), bounds, asked()).columns == ["id", "now", "trait:it"]
