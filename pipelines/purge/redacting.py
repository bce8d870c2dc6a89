"""Other mentions of somebody who is gone: flags that name them, and values in other people's events.

A flag's list of named users is a list of ids, so every purge takes the gone out of it. A new version of the flag says
so, and the older versions are rewritten, so that a rollback brings nobody back.

A value that somebody sent with an event of their own is theirs, and a text that reads like an id need not be an id.
Somebody who calls herself `premium` and asks to be forgotten must not take everybody's plan along. So such values are
redacted only on request. The rows are rewritten, and a rebuild counts them anew, so that every answer agrees with the
lake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import polars as pl
import pyarrow as pa

from expressions.definitions import Definition
from lake.lake import Lake
from lake.schemas import DEFINITIONS, EVENTS, TRAITS, Table
from pipelines.purge.naming import DELETED, Names
from pipelines.rows import props_of
from serving.definitions import saving
from serving.history import History
from serving.ids import record_of
from serving.store.logged_event import Accepted
from serving.store.store import Store

#: The author of a change to a flag, in its history and in the audit log.
AUTHOR = "purge"

#: Columns of events that hold what somebody sent, as JSON.
SENT = ("properties", "traits", "context")

_encode = msgspec.json.Encoder().encode


def forget_in_flags(store: Store, lake: Lake, gone: Collection[str]) -> int:
    """Takes ids out of the named users of all flags, in all their versions; returns how many flags in force changed."""
    changed = 0
    history = History(lake.root)
    for (kind, key), stored in saving.current(store).definitions.items():
        if kind == "flag" and _named(stored.settings, gone):
            saving.save(
                store,
                history.holds_events,
                Definition("flag", key, ""),
                store.now_ms(),
                settings=lambda settings: _without(settings, gone),
                author=AUTHOR,
                must_be="old",
                keeps_expression=True,
                action="update",
            )
            changed += 1
    saving.write_down(store, lake.append_definitions)  # also what others saved: versions that wait may name the gone

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        bodies = [_forgotten(body, gone) for body in batch.column("body").to_pylist()]
        at = batch.schema.get_field_index("body")
        return batch.set_column(at, batch.schema.field(at), pa.array(bodies, pa.string()))

    lake.rewrite(DEFINITIONS, {}, change)
    return changed


def _named(settings: Mapping[str, Any], gone: Collection[str]) -> list[str]:
    return [user for user in settings.get("users") or {} if record_of(user) in gone]


def _without(settings: Mapping[str, Any], gone: Collection[str]) -> dict[str, Any]:
    named = _named(settings, gone)
    return {**settings, "users": {user: variant for user, variant in settings["users"].items() if user not in named}}


def _forgotten(body: str, gone: Collection[str]) -> str:
    """A definition of the history, as JSON, without named users who are gone."""
    stored = msgspec.json.decode(body)
    settings = stored.get("settings") or {}
    if not _named(settings, gone):
        return body
    return _encode(stored | {"settings": _without(settings, gone)}).decode()


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────


def redact(lake: Lake, names: Names) -> int:
    """Puts `DELETED` wherever a value of somebody's event or trait names one of these ids; returns in how many rows.

    The ids and names of events stay: repeats and definitions know events by them.
    """
    return sum(
        _redact_rows(lake, table, partition, names)
        for table in (EVENTS, TRAITS)
        for partition in lake.partitions(table)
        if len(names)
    )


def _redact_rows(lake: Lake, table: Table, partition: Mapping[str, str], names: Names) -> int:
    columns = SENT if table is EVENTS else ("string", "json")
    own = set(names.ids)

    def naming(batch: pa.RecordBatch) -> list[int]:
        texts = [batch.column(name).to_pylist() for name in columns]
        matches = [set(names.among(pl.Series(column, dtype=pl.String))) for column in texts]
        return [
            at
            for at, id in enumerate(batch.column("id").to_pylist())
            if id not in own and any(column[at] in match for column, match in zip(texts, matches, strict=True))
        ]

    def change(batch: pa.RecordBatch) -> pa.RecordBatch:
        places = naming(batch)
        if not places:
            return batch
        redacted = [_redacted(row, table, names) for row in batch.take(pa.array(places)).to_pylist()]
        for name in [*columns, "props"] if table is EVENTS else columns:
            values = batch.column(name).to_pylist()
            for at, row in zip(places, redacted, strict=True):
                values[at] = row[name]
            index = batch.schema.get_field_index(name)
            batch = batch.set_column(index, batch.schema.field(index), pa.array(values, batch.schema.field(index).type))
        return batch

    rows = sum(len(naming(batch)) for batch in lake.batches(table, partition))
    if rows:
        lake.rewrite(table, partition, change)
    return rows


def _redacted(row: Mapping[str, Any], table: Table, names: Names) -> dict[str, Any]:
    if table is TRAITS:
        text = row["string"]
        return {"string": None if text is None else names.redacted(text), "json": _redacted_json(row["json"], names)}
    sent = {name: _redacted_json(row[name], names) for name in SENT}
    properties, traits = (msgspec.json.decode(sent[name] or "{}") for name in ("properties", "traits"))
    event = Accepted(row["event_id"], row["kind"], row["id"], properties=properties, traits=traits)
    return {**sent, "props": props_of([event]).to_pylist()[0]}


def _redacted_json(text: str | None, names: Names) -> str | None:
    return None if text is None else _encode(_redacted_value(msgspec.json.decode(text), names)).decode()


def _redacted_value(value: Any, names: Names) -> Any:
    match value:
        case str():
            return names.redacted(value)
        case bool():
            return value
        case int() | float():
            return DELETED if names.redacted(str(value)) != str(value) else value
        case list():
            return [_redacted_value(item, names) for item in value]
        case dict():
            return {names.redacted(key): _redacted_value(inner, names) for key, inner in value.items()}
        case _:
            return value
