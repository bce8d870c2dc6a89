"""The members of a segment, from every row of some people: so they can be found some people at a time.

events  →  whose ids are whose (of all)  →  every row of some people  →  the members among them
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

#: What a person is known by, first to last: the column, and the kind of id.
ID_COLUMNS = {"device_id": "anon", "external_id": "user", "email_hash": "email"}


def linked_persons(events: pl.LazyFrame) -> pl.DataFrame:
    """id and person of every id that belongs to another, from all events as they came; reads only rows about ids."""
    return persons(after_deletes(events.filter(pl.col("kind").is_in(ACT_KINDS))))


def members(rows: pl.DataFrame, bound: Bound, now_ms: int, zone: Zone) -> pl.DataFrame:
    """One row for every member of a segment at `now_ms`, of every row of some people (a column `person` says whose).

    Columns: id (the person), created_at (the time of its first event), device_id, external_id, email_hash (the value of
    the first id of the kind, its own id before others; null where it has none). The newest comes first.
    """
    needed = counted_for(rows.lazy(), plan([bound.expr]), now_ms, zone)
    folded = needed.with_columns(pl.col("person").alias("id")).drop("person")
    key = (bound.definition.kind, bound.definition.key)
    found = users_where(answer_frame(folded, [bound], now_ms, zone), key)
    live = after_deletes(rows.lazy().select("person", "id", "kind", "seq", "ts", "received_at"))
    of_members = live.join(found.lazy(), left_on="person", right_on="id", how="semi")
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
