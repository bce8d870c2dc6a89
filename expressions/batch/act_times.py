"""Since when each link is known, by the events that say so. A link's row has the receipt of the event that made it.

    1. acts        the links and unlinks that no delete covers
    2. `_begun`    each link, and when its id was given up or deleted before: what was received since, and of a time
                   after the unlink, says the same
    3. `_pairs`    the events that name an id beside their own: id, owner, and the event's time and receipt
    4. event_time  of a link the earliest time of the events that say it. A link by an email's hash, of which the rows
                   of events say nothing, has the time of the event that made it
    5. received    the receipt of the link, or the earliest time of imported events that say it

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
    """The links and unlinks that no delete covers, with `event_time` and `received`: since when each is known by these.

    Both are UTC ms; imported events count by their own time in either (`as_of.known_at`). `events` has the columns of
    `READ`. In memory are the acts, two times for each link, and of each event that names a device the hash of its id.
    """
    events = events.select(READ)
    all_acts = events.filter(pl.col("kind").is_in(ACT_KINDS)).collect()
    acts = after_deletes(all_acts.lazy()).with_columns(_SAID_BY).collect()
    links, unlinks = acts.filter(pl.col("kind") == "link"), acts.filter(pl.col("kind") != "link")
    if links.is_empty():
        times = (pl.col("ts").alias("event_time"), pl.col("received_at").alias("received"))
        return acts.with_columns(times).drop("said_by")
    begun = _begun(links, unlinks, all_acts)
    said = _said_at(events, begun)
    untold = begun.join(said, on=["id", "seq"], how="anti")
    if not untold.is_empty():
        said = pl.concat([said, _made_at(events, untold)])
    own_ts = pl.coalesce("own_ts", "ts")
    told = links.join(said, on=["id", "seq"], how="left").with_columns(own_ts.alias("own_ts"))
    vain = told.group_by("id", "said_by").agg(pl.col("own_ts", "imported_ts").sort_by("seq").last())
    taken_back = unlinks.join(vain, on=["id", "said_by"], how="left")
    dated = pl.concat([told, taken_back.select(told.columns)])
    received = pl.min_horizontal("received_at", "imported_ts").alias("received")
    return dated.with_columns(own_ts.alias("event_time"), received).drop("said_by", "own_ts", "imported_ts")


_IS_EVENT = ~pl.col("kind").is_in(ACT_KINDS)
#: The event for which an act was made: the id of the act is made of the event's.
_SAID_BY = pl.col("event_id").str.replace(r":(?:un)?link$", "").alias("said_by")
_IS_IMPORTED = pl.col("seq").is_null().alias("is_imported")
#: Of the events that say a link, those that are of after its id was unlinked before.
_IS_OF_AFTER = pl.col("ts") > pl.col("unlinked")
_EARLIEST = (pl.col("ts").min().alias("own_ts"), pl.col("ts").filter("is_imported").min().alias("imported_ts"))


def _begun(links: pl.DataFrame, unlinks: pl.DataFrame, acts: pl.DataFrame) -> pl.DataFrame:
    """id, seq, owner, said_by, began, unlinked: an event that was received after `began` says the same as the link.

    An event of a time up to `unlinked` says whose the id was before it, and not that it was so again. An unlink of a
    link that was made in vain parts nothing.
    """
    given_up = pl.when(pl.col("kind") == "delete").then("received_at").otherwise("ts")
    began = acts.filter(pl.col("kind") != "link").select("id", given_up.alias("began"))
    unlinked = unlinks.join(links, on=["id", "said_by"], how="anti").select("id", pl.col("ts").alias("unlinked"))
    begun = links.select("id", "seq", pl.col("name").alias("owner"), "said_by", pl.col("ts").alias("at")).sort("at")
    for name, times in (("began", began), ("unlinked", unlinked)):
        at = times.unique().sort(name).with_columns(pl.col(name).alias("at"))
        begun = begun.join_asof(at, on="at", by="id", allow_exact_matches=False, check_sortedness=False)
    return begun.drop("at").with_columns(pl.col("began", "unlinked").fill_null(BEGINNING_MS))


def _said_at(events: pl.LazyFrame, begun: pl.DataFrame) -> pl.DataFrame:
    """id, seq, own_ts, imported_ts of the links that events say: the earliest time of these, and of imported ones."""
    naming = events.filter((pl.col("kind") == "delete") | (_IS_EVENT & pl.col("anonymous_id").is_not_null()))
    said = _pairs(counted_lazily(naming)).join(begun.drop("said_by").lazy(), on=["id", "owner"])
    since = said.filter((pl.col("received_at") > pl.col("began")) & _IS_OF_AFTER)
    return since.group_by("id", "seq").agg(_EARLIEST).collect(engine="streaming")


def _pairs(events: pl.LazyFrame) -> pl.LazyFrame:
    """id, owner, ts, received_at, is_imported: an event's own id owns the device that it names, or an alias' others."""
    named, own = pl.col("anonymous_id"), (pl.col("id").alias("owner"), "ts", "received_at", _IS_IMPORTED)
    devices = events.filter(pl.col("kind") != "alias").select(("anon:" + named).alias("id"), *own)
    previous = pl.concat_list("anon:" + named, "user:" + named, named).alias("id")
    aliased = events.filter(pl.col("kind") == "alias").select(previous, *own).explode("id")
    return pl.concat([devices, aliased])


def _made_at(events: pl.LazyFrame, links: pl.DataFrame) -> pl.DataFrame:
    """id, seq, own_ts, imported_ts of the links whose own event counts: the time of that event, the latter if imported.

    The event is a row of the owner; one of an email's hash and a device, without a user, is a row of the device.
    """
    sides = [links.select("id", "seq", "said_by", "unlinked", pl.col(side).alias("sender")) for side in ("id", "owner")]
    makers = pl.concat(sides).rename({"id": "claimed", "sender": "id", "said_by": "event_id"})
    copies = events.filter(_IS_EVENT).join(makers.lazy(), on=["id", "event_id"], how="semi")
    deletes = events.filter(pl.col("kind") == "delete")
    rows = pl.concat([copies.collect(engine="streaming"), deletes.collect()])
    made = deduplicate(after_deletes(rows.lazy())).select("id", "event_id", "ts", _IS_IMPORTED).collect()
    said = makers.join(made, on=["id", "event_id"]).filter(_IS_OF_AFTER)
    return said.group_by(pl.col("claimed").alias("id"), "seq").agg(_EARLIEST)
