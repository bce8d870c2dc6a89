"""The members of a segment, from every row of some people: so they can be found some people at a time.

1. `linked_persons`   id, person: one row an id that belongs to another, from the events of everybody
2. rows               the columns of `frames.EVENT_SCHEMA`, and person: every row of some people
3. `answer_frame`     id (the person), and a struct for the segment: one row a person
4. live               person, id, kind, seq, ts, received_at: the rows of members that no delete covers
5. ids                person, id, ts, is_own: one row an id of a member, with its first time; one more for the own id
6. `members`          id (the person), created_at, device_id, external_id, email_hash: one row a member
"""

from __future__ import annotations

import polars as pl

from ..definitions import Bound
from ..plan import plan
from ..rules.deletes import ACT_KINDS, after_deletes
from ..rules.identity import persons
from ..rules.windows import Zone
from .counting import counted_for
from .frames import answer_frame, users_where

#: The columns that name a person, each with the kind of id that it holds.
ID_COLUMNS = {"device_id": "anon", "external_id": "user", "email_hash": "email"}


def linked_persons(events: pl.LazyFrame) -> pl.DataFrame:
    """id, person: one row for every id that belongs to another, from all events as they came.

    Only rows of acts (links, unlinks, deletes) are read.
    """
    return persons(after_deletes(events.filter(pl.col("kind").is_in(ACT_KINDS))))


def members(rows: pl.DataFrame, bound: Bound, now_ms: int, zone: Zone) -> pl.DataFrame:
    """One row for every member of a segment at `now_ms`, the newest first, from every row of some people.

    `rows` have a column `person`. The columns of the result: id (the person), created_at (the time of its first event),
    device_id, external_id and email_hash (the value of its first id of that kind, its own id before others; null where
    it has none).
    """
    needed = counted_for(rows.lazy(), plan([bound.expr]), now_ms, zone)
    by_person = needed.with_columns(pl.col("person").alias("id")).drop("person")
    key = (bound.definition.kind, bound.definition.key)
    holding = users_where(answer_frame(by_person, [bound], now_ms, zone), key)
    live = after_deletes(rows.lazy().select("person", "id", "kind", "seq", "ts", "received_at"))
    of_members = live.join(holding.lazy(), left_on="person", right_on="id", how="semi")
    of_ids = of_members.group_by("person", "id").agg(pl.col("ts").min()).collect()
    own = of_ids.group_by("person").agg(pl.col("ts").min())
    # A person whose own id has sent nothing is known by it all the same.
    own = own.with_columns(pl.col("person").alias("id"), pl.lit(True).alias("is_own"))
    ids = pl.concat([own.select("person", "id", "ts", "is_own"), of_ids.with_columns(pl.lit(False).alias("is_own"))])
    halves = pl.col("id").str.splitn(":", 2).struct
    ordered = ids.with_columns(halves.field("field_0").alias("kind"), halves.field("field_1").alias("value")).sort(
        pl.col("is_own").not_(), "ts", "value"
    )
    firsts = [
        pl.col("value").filter(pl.col("kind") == kind).first().alias(column) for column, kind in ID_COLUMNS.items()
    ]
    listed = ordered.group_by("person", maintain_order=True).agg(pl.col("ts").min().alias("created_at"), *firsts)
    return listed.rename({"person": "id"}).sort("created_at", "id", descending=[True, False])
