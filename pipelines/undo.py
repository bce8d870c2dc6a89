"""The undo of an import: its rows leave the lake, and what is computed from them.

1. Take the leases of other writers, of the drain and of rebuilds, each when its holder has done what it is at.
2. Note that the import is being undone. Until that has ended nobody imports a file of it, and ingest takes no copy of
   an imported event: its sender sends it again.
3. Drain the log, with the live copies of imported events that were answered as duplicates: these count from here on.
4. Rewrite the days on which it came without its rows, each in one commit. Readers, SQL and rebuilds see them no more.
5. Have its files come in again if they are given again.
6. Rebuild everybody. No record knows the import any more, and ingest takes such copies again.
7. Note that it is undone.

An import received all rows of a run at once, so they stand in one day of the lake; one that was cut off and taken up
again has a few. An undo that was killed anywhere is run again. What its rows said of ids that belong together went
through the log, and stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.drain import Drain
from pipelines.importing.import_file import forget_file
from pipelines.importing.noted_imports import last_rows, note_state
from pipelines.leases import leases
from pipelines.purge.purge_now import PATIENCE_S, drain_all
from pipelines.rebuild import rebuild
from serving.settings import Settings
from serving.store.scripts.lease import WRITERS
from serving.store.store import Store

ROWS_AT_ONCE = 50_000
#: The columns of the rows of an import that are looked at before they go.
_LOOKED_AT = ("import_id", "ingest_date", "id_kind", "kind", "user_id", "anonymous_id")


class NotUndone(ValueError):
    """The import cannot be undone; the message ends with the remedy. `dependents` are the imports that relied on it."""

    def __init__(self, message: str, dependents: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.dependents = list(dependents)


@dataclass(frozen=True)
class Undone:
    """The imports that were undone, the rows that went, and how many of these said that ids belong together."""

    ids: list[str]
    rows: int
    claims: int


def undo_import(
    store: Store,
    lake: Lake,
    settings: Settings,
    id: str,
    *,
    with_dependents: bool = False,
    on_step: Callable[[str], None] = lambda step: None,
    patience_s: float = PATIENCE_S,
) -> Undone:
    """Takes an import out everywhere; returns when nothing counts it any more.

    Imports that withheld rows, since the lake had them from this one, would lack them: they are undone with it
    (`with_dependents`), or it is refused. Raises `NotUndone`, `NotHeld` when others do not give way in time, and
    `StoreError` and `LakeError` when a part is away.
    """
    _chosen(lake, id, with_dependents)  # what is refused waits for nobody
    with leases(store, [WRITERS, "drain", "rebuild"], patience_s) as lease:

        def step(name: str) -> None:
            on_step(name)
            lease.require()

        chosen = _chosen(lake, id, with_dependents)  # an import that was waited for may have relied on it
        # Those that relied on it first: an undo that is killed in between leaves none of them behind.
        for row in reversed(chosen.values()):
            if row["state"] != "undoing":
                note_state(lake, row, "undoing")
        store.note_undoing(True)
        step("noted")
        drain = Drain(store, lake, settings)
        drain_all(store, drain, patience_s)
        step("drained")
        days, claims = _days_and_claims(lake, chosen)
        rows = 0
        for day in days:
            rows += lake.rewrite(EVENTS, {"ingest_date": day}, _without(chosen))
            step("rewritten")
        for own, row in chosen.items():
            for identity in msgspec.json.decode(row["identities"] or "[]"):
                forget_file(lake, identity, own)
        step("forgotten")
        rebuild(store, lake, settings)
        step("rebuilt")
        store.note_undoing(False)
        for row in reversed(chosen.values()):
            note_state(lake, row, "undone")
    return Undone([*chosen], rows, claims)


def _chosen(lake: Lake, id: str, with_dependents: bool) -> dict[str, dict[str, Any]]:
    """The imports that are undone together, by id, each as it was noted last. Raises `NotUndone`."""
    noted = last_rows(lake)
    row = noted.get(id)
    if row is None:
        raise NotUndone(f"no import has the id {id!r}: tinycdp imports lists them")
    if row["state"] == "undone":
        raise NotUndone(f"the import {id} is undone already")
    if row["identity"] is None:
        raise NotUndone(
            f"the import {id} was made by a release before 'undo' was there, and its rows do not say that they are of "
            "it: delete the people whom it names, or import into a new home"
        )
    dependents = _dependents(noted, id)
    if dependents and not with_dependents and row["state"] != "undoing":
        names = ", ".join(dependents)
        raise NotUndone(
            f"{len(dependents)} imports relied on rows that were there when they came, which may be those of {id}: "
            f"{names}. --with-dependents undoes them, too; give their files again afterwards",
            dependents,
        )
    if row["state"] == "undoing":  # what was chosen when it began, whatever is said now
        dependents = [other for other in dependents if noted[other]["state"] == "undoing"]
    return {own: noted[own] for own in (id, *dependents)}


def _dependents(noted: Mapping[str, Mapping[str, Any]], id: str) -> list[str]:
    """The imports that relied on one, or on those that did, and are not undone; the oldest first."""
    found = {id}
    while True:
        more = {
            other
            for other, row in noted.items()
            if other not in found and row["state"] != "undone" and any(_relied(row, noted[own]) for own in found)
        }
        if not more:
            return [other for other in noted if other in found - {id}]
        found |= more


def _relied(row: Mapping[str, Any], on: Mapping[str, Any]) -> bool:
    """Whether an import may have withheld rows that another one brought."""
    if row["relied_on"] is not None:
        return on["id"] in msgspec.json.decode(row["relied_on"])
    # It has not said so: it was cut off, or is of an older release. Imports may have begun at the same time.
    return bool(row["already"] != 0 and row["at"] >= on["begun_at"] - DAY_MS)


def _days_and_claims(lake: Lake, ids: Collection[str]) -> tuple[list[str], int]:
    """The days on which rows of some imports came, the oldest first, and how many rows say that ids belong together."""
    days: set[str] = set()
    claims = 0
    if lake.holds_events():
        for batch in lake.imported_batches(lake.events_version(), ROWS_AT_ONCE, _LOOKED_AT):
            rows = batch.filter(pl.col("import_id").is_in([*ids]))
            days |= {day.isoformat() for day in rows["ingest_date"].unique()}
            claims += rows.filter(pl.col("anonymous_id").is_not_null() & pl.col("user_id").is_not_null()).height
    return sorted(days), claims


def _without(ids: Collection[str]) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """Rows less those of some imports."""

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        of_import = pl.Series(batch.column("import_id").to_pylist(), dtype=pl.String)
        stays = ~of_import.is_in([*ids]).fill_null(False)
        return batch.filter(pa.array(stays.to_list(), pa.bool_()))

    return change
