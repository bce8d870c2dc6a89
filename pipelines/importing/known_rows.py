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
from pipelines.importing.spilled_keys import KEY, KEY_BYTES, Keys, SpilledKeys
from serving.store.logged_event import LogEntry

ROWS_AT_ONCE = 50_000
_COLUMNS = ("id", "event_id", "kind", "name", "seq", "ts", "original_ts", "received_at")

Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"


class KnownRows:
    """The imported rows that the lake has when this is made: their hashes, so that memory is bounded.

    `to_compare`: all rows of the lake are read, those of the log too, for `at_known_times`.
    """

    def __init__(self, lake: Lake, *, to_compare: bool = False) -> None:
        self._imported, self._logged, self._moments = SpilledKeys(), SpilledKeys(), SpilledKeys()
        self._kept = SpilledKeys()
        #: The ids of the imports whose rows are known.
        self.imports: set[str] = set()
        self._deletes = pl.DataFrame()
        if not lake.holds_events():
            return
        version = lake.events_version()
        self._deletes = lake.scan(EVENTS, version).select(*_COLUMNS).filter(pl.col("kind") == "delete").collect()
        read = lake.event_batches if to_compare else lake.imported_batches
        for batch in read(version, ROWS_AT_ONCE, (*_COLUMNS, "import_id")):
            self.imports |= set(batch["import_id"].drop_nulls().unique())
            events = batch.filter(~pl.col("kind").is_in(ACT_KINDS))
            if not to_compare:
                events = events.filter(pl.col("seq").is_null())
            events = self._counting(events)
            imported, logged = events.filter(pl.col("seq").is_null()), events.filter(pl.col("seq").is_not_null())
            self._imported.add(_keys(imported["id"].to_list(), imported["event_id"].to_list()))
            self._logged.add(_keys(logged["id"].to_list(), logged["event_id"].to_list()))
            if to_compare:
                self._moments.add(_moment_keys(events))

    def keep(self, rows: pa.Table) -> None:
        """Keeps rows of `events` of a file, to be known in the files behind it (`end_file`)."""
        events = self._counting(pl.DataFrame(pl.from_arrow(rows.select(list(_COLUMNS)))))
        self._kept.add(_keys(events["id"].to_list(), events["event_id"].to_list()))

    def end_file(self) -> None:
        """From here on the rows are known that were kept."""
        for keys in self._kept.batches(ROWS_AT_ONCE):
            self._imported.add(keys)
        self._kept = SpilledKeys()

    def _counting(self, events: pl.DataFrame) -> pl.DataFrame:
        """Those that no delete of the lake covers."""
        events = events.select(_COLUMNS)
        if self._deletes.is_empty() or events.is_empty():
            return events
        return after_deletes(pl.concat([self._deletes, events]).lazy()).collect()

    def among(self, rows: pa.Table) -> Mask:
        """Which rows of `events` are known."""
        if not self._imported:
            return np.zeros(len(rows), dtype=bool)
        known: Mask = self._imported.counts(_keys(rows["id"].to_pylist(), rows["event_id"].to_pylist())) > 0
        return known

    def at_known_times(self, rows: pa.Table) -> Mask:
        """Which rows of `events` have user, event and time of a row of the lake with another event id."""
        events = pl.DataFrame(pl.from_arrow(rows.select(["id", "event_id", "name", "ts", "original_ts"])))
        keys = _keys(events["id"].to_list(), events["event_id"].to_list())
        is_copy = self._imported.counts(keys) + self._logged.counts(keys) > 0
        known: Mask = self._moments.counts(_moment_keys(events)) > 0
        return known & ~is_copy

    def new(self, events: Sequence[LogEntry]) -> list[LogEntry]:
        """Those of some events that are not known."""
        if not self._imported:
            return list(events)
        known = (
            self._imported.counts(_keys((one.event.id for one in events), (one.event.event_id for one in events))) > 0
        )
        return [one for one, is_known in zip(events, known, strict=True) if not is_known]


def _keys(ids: Iterable[str], event_ids: Iterable[str]) -> Keys:
    hashes = [
        blake2b(f"{len(id)}:{id}{event_id}".encode(), digest_size=KEY_BYTES).digest()
        for id, event_id in zip(ids, event_ids, strict=True)
    ]
    return np.frombuffer(b"".join(hashes), dtype=KEY)


def _moment_keys(events: pl.DataFrame) -> Keys:
    """The hashes of user, event and time as they were said."""
    names, times = events["name"].fill_null(""), pl.coalesce("original_ts", "ts").cast(pl.String).alias("time")
    return _keys(events["id"].to_list(), events.select(pl.concat_str(times, pl.lit(":"), names))["time"].to_list())
