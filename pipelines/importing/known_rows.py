"""Which rows of an import the lake has from another one: those of the same id and event id.

They are withheld, since they would not count (S11), and the lake would grow by yesterday's file each day. Two imports
at the same time may both write a row; then S11 alone decides. Rows that a delete covers are not known: they count
nowhere, and a row of the same event id may be of a later time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa

from expressions.rules.deletes import ACT_KINDS, after_deletes
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.spilled_keys import KEY_BYTES, Keys, SpilledKeys
from serving.store.logged_event import LogEntry

ROWS_AT_ONCE = 50_000
_COLUMNS = ("id", "event_id", "kind", "seq", "ts", "received_at")

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


class KnownRows:
    """The imported rows that the lake has when this is made: their hashes, so that memory is bounded."""

    def __init__(self, lake: Lake) -> None:
        self._keys = SpilledKeys()
        if not lake.holds_events():
            return
        version = lake.events_version()
        deletes = lake.scan(EVENTS, version).select(*_COLUMNS).filter(pl.col("kind") == "delete").collect()
        for batch in lake.imported_batches(version, ROWS_AT_ONCE, _COLUMNS):
            imported = batch.filter(pl.col("seq").is_null() & ~pl.col("kind").is_in(ACT_KINDS))
            if not deletes.is_empty() and not imported.is_empty():
                together = after_deletes(pl.concat([deletes, imported]).lazy())
                imported = together.filter(pl.col("seq").is_null()).collect()
            self._keys.add(_keys(imported["id"].to_list(), imported["event_id"].to_list()))

    def among(self, rows: pa.Table) -> Mask:
        """Which rows of `events` are known."""
        known: Mask = self._keys.counts(_keys(rows["id"].to_pylist(), rows["event_id"].to_pylist())) > 0
        return known

    def new(self, events: Sequence[LogEntry]) -> list[LogEntry]:
        """Those of some events that are not known."""
        known = self._keys.counts(_keys((one.event.id for one in events), (one.event.event_id for one in events))) > 0
        return [one for one, is_known in zip(events, known, strict=True) if not is_known]


def _keys(ids: Iterable[str], event_ids: Iterable[str]) -> Keys:
    hashes = [
        blake2b(f"{len(id)}:{id}{event_id}".encode(), digest_size=KEY_BYTES).digest()
        for id, event_id in zip(ids, event_ids, strict=True)
    ]
    return np.frombuffer(b"".join(hashes), dtype=f"S{KEY_BYTES}")
