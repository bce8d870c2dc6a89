"""The answers of people at instants of their own, each from what was known by then: what the engine answered, or would.

1. rows                 every row of some people, as it came, with all ids that were ever one person's
2. `known_events`       the rows that count and that the answers depend on, and since when each is known (`known_at`)
3. asked                row, person, now: an instant for each question
4. `members_at`         row, id: the ids that were the person's then
5. `answers_as_of`      row, id (the person), now, and a struct for each definition: one row a question

Deletes and repeats are decided first, over all rows. A repeat that was dropped is dropped at every instant, and whom a
delete covers is in no answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import polars as pl

from ..definitions import Bound
from ..plan import plan
from ..rules.persons_over_time import members_at, spans_of
from ..rules.windows import UTC_ZONE, Zone
from .counting import counted_for
from .frames import answer_frame
from .instants import Asked
from .over_time import PAIRS_AT_ONCE

#: By which of its times a row is known: when it happened, or when it was received.
Known: TypeAlias = Literal["event_time", "received"]
KNOWN: tuple[Known, ...] = get_args(Known)


def known_at(known: Known) -> pl.Expr:
    """The instant, UTC ms, from which a row is known.

    An imported row was received with its file, long after what it tells: it is known by its own time.
    """
    if known == "event_time":
        return pl.col("ts")
    return pl.when(pl.col("seq").is_null()).then("ts").otherwise("received_at")


def known_events(
    rows: pl.DataFrame, bounds: Sequence[Bound], earliest_ms: int, latest_ms: int, known: Known, zone: Zone = UTC_ZONE
) -> pl.DataFrame:
    """The rows that count and that answers between two instants depend on, with the column `known_at`.

    Each id has one row more, which no answer reads: it says that the id is there.
    """
    needed = plan(bound.expr for bound in bounds)
    counting = counted_for(rows.lazy(), needed, earliest_ms, zone, latest_ms=latest_ms)
    return counting.with_columns(known_at(known).alias("known_at")).collect()


def answers_as_of(
    events: pl.DataFrame, asked: pl.DataFrame, spans: pl.DataFrame, bounds: Sequence[Bound], zone: Zone = UTC_ZONE
) -> Iterator[pl.DataFrame]:
    """The answers to `asked` (row, person, now), some at a time; `row` tells them apart.

    `events` are those of `known_events`, `spans` those of `persons_over_time.person_spans`. In memory are at most
    `PAIRS_AT_ONCE` ids of questions, and as many events of these, or those of one question.
    """
    sizes = events.select("id").group_by("id").len("rows")
    own_spans = spans_of(asked["person"], spans)
    ever = own_spans.group_by("person").agg(pl.col("id").n_unique().alias("ids"))
    candidates = asked.join(ever, on="person", how="left").with_columns(pl.col("ids").fill_null(0) + 1)
    for some in _parts(candidates, "ids"):
        members = members_at(some, own_spans)
        read = members.join(sizes, on="id", how="left").group_by("row").agg(pl.col("rows").fill_null(0).sum() + 1)
        for questions in _parts(some.join(read, on="row"), "rows"):
            numbered = questions.select(pl.col("row").alias("question")).with_row_index("row")
            own = members.rename({"row": "question"}).join(numbered, on="question").select("row", "id")
            rows = Asked(questions.select(pl.col("person").alias("id"), "now"), own)
            of_members = events.lazy().filter(pl.col("id").is_in(own["id"].unique().implode()))
            answers = answer_frame(of_members, bounds, rows, zone)
            yield answers.join(numbered, on="row").drop("row").rename({"question": "row"})


def _parts(questions: pl.DataFrame, pairs: str) -> Iterator[pl.DataFrame]:
    """Some questions at a time, by `row`: so many that their column `pairs` adds up to some `PAIRS_AT_ONCE`."""
    ordered = questions.sort("row").with_columns((pl.col(pairs).cum_sum() // PAIRS_AT_ONCE).alias("part"))
    yield from ordered.drop(pairs).partition_by("part", include_key=False)
