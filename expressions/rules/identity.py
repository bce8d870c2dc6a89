"""Which ids are one person: the rule by which claims become owners and owners become people, over frames.

    claims  →  owners (an id belongs to whom its first claim names)  →  roots (of that one's owner, and so on)

An id's own log decides alone: of its links after its last unlink the one with the lowest seq (deletes were applied
before: `deletes.after_deletes`). `serving.store.scripts.claim` keeps the same rule claim by claim; a test compares
them.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

#: Rows that say whose an id is. A link's `name` is the owner. Each is an act of its own, so none is ever a repeat.
LINK_KINDS = ("link", "unlink")


def owners(events: pl.LazyFrame) -> pl.DataFrame:
    """One row for every id that belongs to another: id, owner, seq, received_at and event_id of the claim."""
    rows = events.filter(pl.col("kind").is_in(LINK_KINDS)).select(
        "id", "kind", "seq", "received_at", "event_id", pl.col("name").alias("owner")
    )
    last = rows.filter(pl.col("kind") == "unlink").group_by("id").agg(pl.col("seq").max().alias("unlinked"))
    claims = rows.filter(pl.col("kind") == "link").join(last, on="id", how="left")
    standing = claims.filter(pl.col("unlinked").is_null() | (pl.col("seq") > pl.col("unlinked")))
    first = standing.sort("seq").unique(subset=["id"], keep="first", maintain_order=True)
    return first.select("id", "owner", "seq", "received_at", "event_id").collect()


def roots(owner_of: Mapping[str, str]) -> dict[str, str]:
    """id -> the person it belongs to, for every id that has an owner.

    Ids that own each other in a ring (nothing writes that) are all the person of the least of them.
    """
    found: dict[str, str] = {}
    for one in owner_of:
        path: dict[str, None] = {}
        at = one
        while at in owner_of and at not in found and at not in path:
            path[at] = None
            at = owner_of[at]
        if at in path:
            ids = list(path)
            at = min(ids[ids.index(at) :])
        found |= dict.fromkeys(path, found.get(at, at))
    return {one: root for one, root in found.items() if one != root}


def people(events: pl.LazyFrame) -> pl.LazyFrame:
    """The same rows with the person in the place of each id. Deletes were applied before."""
    return with_person(events, persons(events)).with_columns(pl.col("person").alias("id")).drop("person")


def persons(events: pl.LazyFrame) -> pl.DataFrame:
    """One row for every id that belongs to another: id, person. Deletes were applied before."""
    held = owners(events).select("id", "owner")
    # Most owners belong to nobody, and there may be millions of them: only the others are followed one by one.
    chained = held.join(held.select(pl.col("id").alias("owner")), on="owner", how="semi")
    direct = held.join(chained, on="id", how="anti").select("id", pl.col("owner").alias("person"))
    ends = direct.join(chained.select(pl.col("owner").alias("id")).unique(), on="id", how="semi")
    found = roots(dict(chained.iter_rows()) | dict(ends.iter_rows()))
    # What ends a chain is in both; a ring's own person belongs to nobody.
    followed = pl.DataFrame({"id": list(found), "person": list(found.values())}, schema=direct.schema)
    return pl.concat([direct.join(ends, on="id", how="anti"), followed])


def with_person(rows: pl.LazyFrame, known: pl.DataFrame) -> pl.LazyFrame:
    """The same rows with a column `person` more: of `known` ids theirs, of others the id itself."""
    if known.is_empty():
        return rows.with_columns(pl.col("id").alias("person"))
    return rows.join(known.lazy(), on="id", how="left").with_columns(pl.coalesce("person", "id"))
