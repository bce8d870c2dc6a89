"""Which ids are one person: the rule that makes owners of claims, and people of owners, over frames.

    1. claims: the links of an id after its last unlink
    2. owners: an id belongs to the owner that its first claim (the one with the lowest seq) names
    3. roots: the person of an id is the end of the chain of owners

An id's own log decides, and the deletes of owners. Deletes are applied before (`deletes.after_deletes`).
`serving.store.scripts.claim` keeps the same rule claim by claim, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

#: The kinds of rows that say who owns an id. A link's `name` is the owner. Such a row is never a repeat of another.
LINK_KINDS = ("link", "unlink")


def owners(events: pl.LazyFrame) -> pl.DataFrame:
    """One row for every id that belongs to another: id, owner, and seq, ts (the receipt) and event_id of the claim."""
    rows = events.filter(pl.col("kind").is_in(LINK_KINDS)).select(
        "id", "kind", "seq", "ts", "event_id", pl.col("name").alias("owner")
    )
    last = rows.filter(pl.col("kind") == "unlink").group_by("id").agg(pl.col("seq").max().alias("unlinked"))
    links = rows.filter(pl.col("kind") == "link").join(last, on="id", how="left")
    open_claims = links.filter(pl.col("unlinked").is_null() | (pl.col("seq") > pl.col("unlinked")))
    first = open_claims.sort("seq").unique(subset=["id"], keep="first", maintain_order=True)
    return first.select("id", "owner", "seq", "ts", "event_id").collect()


def roots(owner_of: Mapping[str, str]) -> dict[str, str]:
    """id -> the person it belongs to, for every id that has an owner.

    Ids own each other in a ring only where two aliases came at once and their callers were killed, until the drain
    takes one of the links back. Meanwhile their person is the least of them.
    """
    root_of: dict[str, str] = {}
    for id in owner_of:
        path: dict[str, None] = {}
        end = id
        while end in owner_of and end not in root_of and end not in path:
            path[end] = None
            end = owner_of[end]
        if end in path:
            ids = list(path)
            end = min(ids[ids.index(end) :])
        root_of |= dict.fromkeys(path, root_of.get(end, end))
    return {id: root for id, root in root_of.items() if id != root}


def people(events: pl.LazyFrame) -> pl.LazyFrame:
    """The same rows with the person in the place of each id. Deletes are applied before."""
    return with_person(events, persons(events)).with_columns(pl.col("person").alias("id")).drop("person")


def persons(events: pl.LazyFrame) -> pl.DataFrame:
    """One row for every id that belongs to another: id, person. Deletes are applied before."""
    owned = owners(events).select("id", "owner")
    # Most owners belong to nobody, and there may be millions of them: only the others are followed one by one.
    chained = owned.join(owned.select(pl.col("id").alias("owner")), on="owner", how="semi")
    direct = owned.join(chained, on="id", how="anti").select("id", pl.col("owner").alias("person"))
    ends = direct.join(chained.select(pl.col("owner").alias("id")).unique(), on="id", how="semi")
    root_of = roots(dict(chained.iter_rows()) | dict(ends.iter_rows()))
    # The last link of a chain is in `direct` too, so it is left out there. The person of a ring belongs to nobody.
    followed = pl.DataFrame({"id": list(root_of), "person": list(root_of.values())}, schema=direct.schema)
    return pl.concat([direct.join(ends, on="id", how="anti"), followed])


def with_person(rows: pl.LazyFrame, known_persons: pl.DataFrame) -> pl.LazyFrame:
    """The same rows with a column `person`: the id's person by `known_persons` (id, person), else the id itself."""
    if known_persons.is_empty():
        return rows.with_columns(pl.col("id").alias("person"))
    return rows.join(known_persons.lazy(), on="id", how="left").with_columns(pl.coalesce("person", "id"))
