"""The question which names the lake has: of events with their properties, and of attributes; and examples of values.

Names and counts of events are read from all rows, since a few narrow columns tell them. Properties and attributes are
read from the rows that were received last. For events that are not among these, some of their rows are looked for. So
the work is bounded, and grows with the lake by what it takes to count its names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeAlias

import msgspec
import polars as pl

from expressions.plan import COUNTED_KINDS
from expressions.rules.deletes import after_deletes
from expressions.rules.dtypes import KINDS, Kind
from expressions.rules.properties import attribute_key, attribute_name, attribute_path
from expressions.rules.windows import DAY_MS
from serving.history import History, Source
from serving.times import rfc3339

#: Rows and files that properties and attributes are read from.
ROWS_MAX, FILES_MAX = 200_000, 500
#: Events that are named, the most frequent ones; properties of one, and of all together; attributes.
EVENTS_MAX, PROPERTIES_MAX, ALL_PROPERTIES_MAX, ATTRIBUTES_MAX = 1_000, 300, 10_000, 1_000
#: Events that are looked for beyond the newest rows, and how many rows of theirs are read.
OLD_EVENTS_MAX, OLD_ROWS_MAX = 100, 50_000
#: Examples that are given of a property or an attribute, and the characters of each.
EXAMPLES_MAX, EXAMPLE_CHARACTERS_MAX = 50, 200
#: Different values, or lists, that examples are chosen from.
GROUPS_MAX = 1_000

#: (name of an event, or None for identifies; name of a field; kind of its value, "" for a null) -> in how many rows.
Fields: TypeAlias = Counter[tuple[str | None, str, str]]


def vocabulary(source: Source, now_ms: int) -> dict[str, Any]:
    """The names in the lake as of `now_ms`, with how often they came: `events`, `attributes`, `rows` that were read.

    Counts are of rows: repeats count, and what was deleted counts until a purge has taken it.
    """
    lake = source.history()
    events = _events(lake)
    fields, rows = _newest_fields(lake)
    named = events.head(EVENTS_MAX)
    read = [name for name, _, _ in fields if name is not None]
    fields += _old_fields(lake, named.filter(~pl.col("name").is_in(read)).head(OLD_EVENTS_MAX))
    by_event: dict[str | None, dict[str, dict[str, int]]] = {}
    for (event, field, kind), count in fields.items():
        by_event.setdefault(event, {}).setdefault(field, {})[kind] = count
    shown, left = [], ALL_PROPERTIES_MAX
    for name, count, last_ms in named.iter_rows():
        most = _most(by_event.get(name, {}), min(PROPERTIES_MAX, left))
        properties = [{"name": field, **told} for field, told in most]
        left -= len(properties)
        shown.append({"name": name, "count": count, "lastSeen": rfc3339(last_ms), "properties": properties})
    return {
        "asof": rfc3339(now_ms),
        "rows": rows,
        "events": shown,
        "eventsLeftOut": max(0, len(events) - EVENTS_MAX),
        "attributes": [
            {"key": path[0], "path": list(path[1:]), **told}
            for field, told in _most(by_event.get(None, {}), ATTRIBUTES_MAX)
            if (path := attribute_path(field))
        ],
    }


def _events(lake: History) -> pl.DataFrame:
    """Each event's name, how many rows have it, and its latest time; the most frequent first."""
    counted = lake.events().filter(pl.col("kind").is_in(sorted(COUNTED_KINDS)) & pl.col("name").is_not_null())
    grouped = counted.select("name", "ts").group_by("name").agg(pl.len(), pl.col("ts").max())
    return grouped.collect(engine="streaming").sort("len", "name", descending=[True, False])


def _newest_fields(lake: History) -> tuple[Fields, int]:
    """The fields of the newest rows, and how many rows these are."""
    fields, rows = Fields(), 0
    for batch in lake.newest_batches(ROWS_MAX, FILES_MAX):
        rows += len(batch)
        fields += _fields(batch)
    return fields, rows


def _old_fields(lake: History, events: pl.DataFrame) -> Fields:
    """The fields of some rows of these events, of the last day on which each came.

    Of all days nearly each part of the lake has one of them, so that all properties of everybody would be read.
    """
    if events.is_empty():
        return Fields()
    since = {name: last_ms - DAY_MS for name, _, last_ms in events.iter_rows()}
    is_wanted = (
        (pl.col("ts") >= min(since.values()))
        & pl.col("kind").is_in(sorted(COUNTED_KINDS))
        & pl.col("name").is_in(list(since))
        & (pl.col("ts") >= pl.col("name").replace_strict(since, default=None, return_dtype=pl.Int64))
    )
    rows = lake.events().filter(is_wanted).select("kind", "name", "props").head(OLD_ROWS_MAX)
    return _fields(rows.collect(engine="streaming"))


#: The entries of the fields of some rows, one a row.
_ENTRIES = pl.col("props").map.entries().alias("entry")
_ENTRY = pl.col("entry").struct
_VALUE = _ENTRY.field("value").struct


def _kind() -> pl.Expr:
    """The kind of an entry's value; "" for a null and for an object, which reads as one."""
    kinds: list[Kind] = ["number", "string", "boolean"]
    kind = pl.when(_VALUE.field("json").str.starts_with("[")).then(pl.lit("list")).otherwise(pl.lit(""))
    for name in kinds:
        kind = pl.when(_VALUE.field(name).is_not_null()).then(pl.lit(name)).otherwise(kind)
    return kind


def _fields(rows: pl.DataFrame) -> Fields:
    is_event = pl.col("kind").is_in(sorted(COUNTED_KINDS))
    entries = (
        rows.lazy()
        .filter((is_event & pl.col("name").is_not_null()) | (pl.col("kind") == "identify"))
        .select(pl.when(is_event).then("name").alias("event"), _ENTRIES)
        .explode("entry", empty_as_null=False)
        .filter(pl.col("entry").is_not_null())
        .group_by("event", _ENTRY.field("key").alias("field"), _kind().alias("kind"))
        .len()
        .collect()
    )
    return Fields({(event, field, kind): count for event, field, kind, count in entries.iter_rows()})


def _most(fields: dict[str, dict[str, int]], most: int) -> Iterable[tuple[str, dict[str, Any]]]:
    """The fields that came most often, each with the kinds of its values and its count."""
    ordered = sorted(fields.items(), key=lambda item: (-sum(item[1].values()), item[0]))[:most]
    for name, kinds in ordered:
        yield name, {"kinds": [kind for kind in KINDS if kind in kinds], "count": sum(kinds.values())}


# ── names, for warnings ──────────────────────────────────────────────────────────────────────────────────────────


def seen(source: Source, wanted: Iterable[str], attributes: bool) -> tuple[dict[str, list[str]], list[str]]:
    """The names of all events, with the properties of the wanted ones; and the names of attributes, if wanted."""
    events = source.history().events()
    counted = events.filter(pl.col("kind").is_in(sorted(COUNTED_KINDS)))
    properties: dict[str, list[str]] = {name: [] for name in _unique(counted.select("name"))["name"].drop_nulls()}
    keys = pl.col("props").map.keys().alias("key")
    of_events = counted.filter(pl.col("name").is_in(list(wanted))).select("name", keys).explode("key")
    for name, key in _unique(of_events).drop_nulls().iter_rows():
        properties[name].append(key)
    if not attributes:
        return properties, []
    of_profiles = events.filter(pl.col("kind") == "identify").select(keys).explode("key")
    names = map(attribute_key, _unique(of_profiles)["key"].drop_nulls())
    return properties, [name for name in names if name is not None]


def _unique(rows: pl.LazyFrame) -> pl.DataFrame:
    # Streaming: unique names are few, however many rows there are.
    return rows.unique().collect(engine="streaming")


# ── examples ─────────────────────────────────────────────────────────────────────────────────────────────────────


def property_values(source: Source, event: str, name: str) -> dict[str, Any]:
    """The most frequent values of an event's property in the newest rows."""
    return _values(source, (pl.col("kind").is_in(sorted(COUNTED_KINDS))) & (pl.col("name") == event), name)


def attribute_values(source: Source, key: str, path: list[str]) -> dict[str, Any]:
    """The most frequent values that the newest identifies gave an attribute, or a name inside its value."""
    return _values(source, pl.col("kind") == "identify", attribute_name(key, path))


def _values(source: Source, is_wanted: pl.Expr, field: str) -> dict[str, Any]:
    """`values` with their counts, the most frequent first, and how many `rows` were looked at.

    Rows of people who were deleted are left out, as everywhere.
    """
    lake = source.history()
    rows, found = 0, [lake.events().filter(pl.col("kind") == "delete").collect()]
    for batch in lake.newest_batches(ROWS_MAX, FILES_MAX):
        rows += len(batch)
        found.append(batch.filter(is_wanted))
    wanted = after_deletes(pl.concat(found, how="vertical_relaxed").lazy())
    parts = [_VALUE.field("number"), _VALUE.field("string").str.slice(0, EXAMPLE_CHARACTERS_MAX)]
    parts += [_VALUE.field("boolean"), _VALUE.field("json")]
    grouped = (
        wanted.select(_ENTRIES)
        .explode("entry", empty_as_null=False)
        .filter(_ENTRY.field("key") == field)
        .group_by(part.alias(f"{index}") for index, part in enumerate(parts))
        .len()
        .sort("len", descending=True)
        .head(GROUPS_MAX)
        .collect()
    )
    values: Counter[tuple[type, Any]] = Counter()  # by type too: to Python True is 1
    for number, string, boolean, json, count in grouped.iter_rows():
        for value in _scalars(number, string, boolean, json):
            values[type(value), value] += count
    ordered = sorted(values.items(), key=lambda item: (-item[1], str(item[0][1])))[:EXAMPLES_MAX]
    return {"rows": rows, "values": [{"value": value, "count": count} for (_, value), count in ordered]}


def _scalars(number: float | None, string: str | None, boolean: bool | None, json: str | None) -> Iterable[Any]:
    """The value, or the items of a list; nothing for a null and for an object."""
    if json is None:
        return [value for value in (number, string, boolean) if value is not None]
    items = msgspec.json.decode(json)
    return [
        item[:EXAMPLE_CHARACTERS_MAX] if isinstance(item, str) else item
        for item in (items if isinstance(items, list) else [])
        if isinstance(item, (str, int, float))
    ]
