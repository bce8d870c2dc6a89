"""When each link happened, by the events that say so. A link's row has the receipt of the event that made it.

    1. acts      the links and unlinks that no delete covers
    2. `_begun`  each link, and when its id was last given up or deleted before: what was received since says the same
    3. `_pairs`  the events that name an id beside their own: id, owner, and the event's time and receipt
    4. own_ts    of a link the earliest time of the events that say it. A link by an email's hash, of which the rows of
                 events say nothing, has the time of the event that made it

So it does not matter which of several events came first, and an imported event tells of a link that is there already.
A link of which no event counts has the time of its row. An unlink that only took a link back that was made in vain has
the time of that link: at no instant was it in force. Whoever is deleted never owned an id.
"""

from __future__ import annotations

import polars as pl

from ..rules.deletes import ACT_KINDS, after_deletes
from ..rules.windows import BEGINNING_MS
from .counting import counted_lazily, deduplicate

#: The columns that this reads: those of executions, and which device an event names.
READ = ("shard", "seq", "event_id", "kind", "id", "name", "ts", "received_at", "anonymous_id")


def acts_in_own_time(events: pl.LazyFrame) -> pl.DataFrame:
    """The links and unlinks that no delete covers, with `own_ts`, UTC ms: when what they say happened.

    `events` has the columns of `READ`. In memory are the acts, a time for each link, and of each event that names a
    device the hash of its id.
    """
    events = events.select(READ)
    all_acts = events.filter(pl.col("kind").is_in(ACT_KINDS)).collect()
    acts = after_deletes(all_acts.lazy()).with_columns(_SAID_BY).collect()
    links = acts.filter(pl.col("kind") == "link")
    if links.is_empty():
        return acts.with_columns(pl.col("ts").alias("own_ts")).drop("said_by")
    said = _said_at(events, _begun(links, all_acts))
    untold = links.join(said, on=["id", "seq"], how="anti")
    if not untold.is_empty():
        said = pl.concat([said, _made_at(events, untold)])
    dated = links.join(said, on=["id", "seq"], how="left").with_columns(pl.coalesce("own_ts", "ts").alias("own_ts"))
    unlinks = acts.filter(pl.col("kind") != "link")
    vain = dated.group_by("id", "said_by").agg(pl.col("own_ts").sort_by("seq").last())
    taken_back = unlinks.join(vain, on=["id", "said_by"], how="left")
    both = [dated, taken_back.with_columns(pl.coalesce("own_ts", "ts").alias("own_ts"))]
    return pl.concat(both).drop("said_by")


_IS_EVENT = ~pl.col("kind").is_in(ACT_KINDS)
#: The event for which an act was made: the id of the act is made of the event's.
_SAID_BY = pl.col("event_id").str.replace(r":(?:un)?link$", "").alias("said_by")


def _begun(links: pl.DataFrame, acts: pl.DataFrame) -> pl.DataFrame:
    """id, seq, owner, began: an event that was received after this says the same as the link."""
    ends = acts.filter(pl.col("kind") != "link")
    given_up = pl.when(pl.col("kind") == "delete").then("received_at").otherwise("ts")
    at = ends.select("id", given_up.alias("at")).unique().sort("at").with_columns(pl.col("at").alias("began"))
    rows = links.select("id", "seq", pl.col("name").alias("owner"), pl.col("ts").alias("at")).sort("at")
    begun = rows.join_asof(at, on="at", by="id", allow_exact_matches=False, check_sortedness=False)
    return begun.select("id", "seq", "owner", pl.col("began").fill_null(BEGINNING_MS))


def _said_at(events: pl.LazyFrame, begun: pl.DataFrame) -> pl.DataFrame:
    """id, seq, own_ts of the links that some events say: the earliest time of these."""
    naming = events.filter((pl.col("kind") == "delete") | (_IS_EVENT & pl.col("anonymous_id").is_not_null()))
    said = _pairs(counted_lazily(naming)).join(begun.lazy(), on=["id", "owner"])
    since = said.filter(pl.col("received_at") > pl.col("began"))
    return since.group_by("id", "seq").agg(pl.col("ts").min().alias("own_ts")).collect(engine="streaming")


def _pairs(events: pl.LazyFrame) -> pl.LazyFrame:
    """id, owner, ts, received_at: an event's own id owns the device that it names, or what an alias may name."""
    named, own = pl.col("anonymous_id"), (pl.col("id").alias("owner"), "ts", "received_at")
    devices = events.filter(pl.col("kind") != "alias").select(("anon:" + named).alias("id"), *own)
    previous = pl.concat_list("anon:" + named, "user:" + named, named).alias("id")
    aliased = events.filter(pl.col("kind") == "alias").select(previous, *own).explode("id")
    return pl.concat([devices, aliased])


def _made_at(events: pl.LazyFrame, links: pl.DataFrame) -> pl.DataFrame:
    """id, seq, own_ts of the links whose own event counts: the time of that event.

    The event is a row of the owner; one of an email's hash and a device, without a user, is a row of the device.
    """
    sides = [links.select("id", "seq", "said_by", pl.col(side).alias("sender")) for side in ("id", "name")]
    makers = pl.concat(sides).rename({"id": "claimed", "sender": "id", "said_by": "event_id"})
    copies = events.filter(_IS_EVENT).join(makers.lazy(), on=["id", "event_id"], how="semi")
    deletes = events.filter(pl.col("kind") == "delete")
    rows = pl.concat([copies.collect(engine="streaming"), deletes.collect()])
    made = deduplicate(after_deletes(rows.lazy())).select("id", "event_id", "ts").collect()
    said = makers.join(made, on=["id", "event_id"])
    return said.group_by(pl.col("claimed").alias("id"), "seq").agg(pl.col("ts").min().alias("own_ts"))
