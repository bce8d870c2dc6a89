"""The deleted people of a lake: those who are gone, and those who came back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from expressions.rules.deletes import GONE, after_deletes, last_deletes, tombstone_id
from expressions.rules.identity import owners
from lake.lake import Lake


@dataclass(frozen=True)
class Deleted:
    """The deletes of a lake.

    `deletes` has id, deleted_seq and deleted_at, purged deletes under their hash too. `gone` are the ids of which
    nothing is left to show; `returned` those with something newer than their delete. `seen` is the last seq of each
    shard that was looked at.
    """

    deletes: pl.DataFrame
    gone: frozenset[str]
    returned: frozenset[str]
    seen: Mapping[int, int]

    def gone_among(self, ids: Collection[str]) -> frozenset[str]:
        """The ids that are gone, and those of some ids that were purged before and did not come back."""
        purged = set(self.deletes["id"])
        return self.gone | {id for id in ids if tombstone_id(id) in purged and id not in self.returned}


def deleted_people(lake: Lake) -> Deleted:
    """The deletes of the newest version of the lake."""
    events = lake.events(lake.events_version()).select(
        "shard", "seq", "event_id", "kind", "id", "name", "ts", "received_at"
    )
    deletes = last_deletes(events)
    is_deleted = pl.col("id").is_in(deletes["id"].implode())
    live = after_deletes(events)
    returned = set(live.filter(is_deleted).select(pl.col("id").unique()).collect()["id"])
    owning = set(owners(live)["owner"]) if len(deletes) else set()
    names = {id for id in deletes["id"] if not id.startswith(GONE)}
    returned |= names & owning
    seen = events.group_by("shard").agg(pl.col("seq").max()).drop_nulls().collect()
    return Deleted(deletes, frozenset(names - returned), frozenset(returned), dict(seen.iter_rows()))
