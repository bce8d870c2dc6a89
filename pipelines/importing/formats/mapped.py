"""A record of another tool as events that an app sends, by a mapping.

    a record  →  for each of its events  →  what [event] and the rules that fit say  →  a body as `POST /v1/batch` takes
              →  further bodies, of [[also]]

A body then goes the way of all bodies, so it means what the API takes it for. What an event of its own id says besides
has that id with the kind behind it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.importing.cells import plain
from pipelines.importing.formats.mapping import FIELDS, OBJECTS, Mapping, Rule, Said, Text, is_like
from pipelines.importing.formats.places import members, of_columns, opened, value_at
from pipelines.importing.row_values import id_text
from pipelines.importing.times import in_range, time_ms
from serving.ingest.accept import MESSAGE_ID_CHARACTERS_MAX
from serving.refusals import Invalid
from serving.times import rfc3339

_IDS = ("user", "anonymous", "previous", "group", "id")
#: Of these a prefix is taken off (`without_prefix`).
_PREFIXED = ("user", "anonymous", "previous")
#: How a text ends that says its zone: Z, UTC, +01, +0100, +01:00.
_ZONE = re.compile(r"(?:Z|UTC|:[0-9]{2}(?:[.,][0-9]+)? ?[+-][0-9]{2}(?::?[0-9]{2})?)\Z")
_EACH_REMEDY = "export its events with it, or name their place in the mapping"
_TIME_REMEDY = "give the time of each record, or name its place in the mapping"


def mapped(
    row: dict[str, Any],
    mapping: Mapping,
    own_id: Callable[[], str],
    *,
    table: str = "",
    are_cells: bool = False,
    has_columns: bool = False,
) -> list[dict[str, Any]]:
    """The bodies of a row of a table. `own_id` names one that has no id. Raises `Invalid`.

    `has_columns`: it is no object of JSON, but of a file of columns, which may be cells of text (`are_cells`).
    """
    bodies: list[dict[str, Any]] = []
    for number, record in enumerate(_records(of_columns(row) if has_columns else row, mapping)):
        fitting = tuple(at for at, rule in enumerate(mapping.rules) if _fits(rule, record, table, are_cells))
        said = mapping.said(fitting)
        body = _body(record, said, are_cells)
        if not body["messageId"]:
            body["messageId"] = own_id() + (f":{number}" if mapping.each else "")
        bodies.append(body)
        kinds: Counter[str] = Counter()
        for at, rule in enumerate(mapping.also):
            if not _fits(rule, record, table, are_cells):
                continue
            of_further = mapping.said(fitting, at)
            if of_further.type == "identify" and not _object(record, of_further, "traits", are_cells):
                continue  # it would say nothing
            further = _body(record, of_further, are_cells, said, body)
            kinds[further["type"]] += 1
            further["messageId"] = _beside(body["messageId"], further["type"], kinds[further["type"]])
            bodies.append(further)
    return bodies


def _records(row: dict[str, Any], mapping: Mapping) -> Iterator[dict[str, Any]]:
    if mapping.each is None:
        yield dict(row)
        return
    inner = opened(row.get(mapping.each))
    if not isinstance(inner, list):
        details = {"field": mapping.each, "remedy": _EACH_REMEDY}
        raise Invalid(f"{mapping.each}: there is no list of events; {_EACH_REMEDY}", details)
    outer = {name: value for name, value in row.items() if name != mapping.each}
    for one in inner:
        if isinstance(one, dict):
            yield {**outer, **one}


def _fits(rule: Rule, record: dict[str, Any], table: str, are_cells: bool) -> bool:
    if rule.table and not any(is_like(table, one) for one in rule.table):
        return False
    if rule.lacks is not None and value_at(record, rule.lacks, are_cells) is not None:
        return False
    if rule.where is None:
        return True
    value = value_at(record, rule.where, are_cells)
    if value is None:
        return False
    if rule.same_as is not None and value != value_at(record, rule.same_as, are_cells):
        return False
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if any(is_like(text, one) for one in rule.others):
        return False
    return not rule.values or any(is_like(text, one) for one in rule.values)


def _rest(record: dict[str, Any], said: Said) -> list[str]:
    """The columns that nothing of what is said names."""
    begins = tuple(place[:-1] for place in said.columns if place.endswith("*") and place != "*")
    return [name for name in record if name not in said.columns and not (begins and name.startswith(begins))]


def _body(
    record: dict[str, Any], said: Said, are_cells: bool, before: Said | None = None, known: Any = None
) -> dict[str, Any]:
    """The body that is said. What was said `before` of the same record, and so is `known`, is not made again."""
    body: dict[str, Any] = {
        field: known[field] if before and _is_same(said, before, key) else _value(record, said, key, are_cells)
        for key, field in FIELDS.items()
        if key != "time"
    }
    body["type"] = said.type or body["type"]
    is_timed = (
        before is not None
        and _is_same(said, before, "time")
        and (said.time_unit, said.time_zone) == (before.time_unit, before.time_zone)
    )
    body["timestamp"] = known["timestamp"] if is_timed else rfc3339(_time_ms(record, said, are_cells))
    for key in OBJECTS:
        is_known = before is not None and _is_same(said, before, key)
        body[key] = known[key] if is_known else _object(record, said, key, are_cells)
    return body


def _is_same(said: Said, before: Said, key: str) -> bool:
    """Whether both say the same of a key, by the very same words: those of the tables are never copied."""
    if key in OBJECTS:
        return said.objects.get(key) is before.objects.get(key) and said.lists == before.lists
    return said.values.get(key) is before.values.get(key) and said.lists == before.lists


def _object(record: dict[str, Any], said: Said, key: str, are_cells: bool) -> dict[str, Any]:
    sources = said.objects.get(key, ())
    if not sources:
        return {}
    return members(record, sources, _rest(record, said) if "*" in sources else (), said.casts(are_cells))


def _value(record: dict[str, Any], said: Said, key: str, are_cells: bool) -> Any:
    found: Any = None
    for place in said.values.get(key, ()):
        found = place.value if isinstance(place, Text) else plain(value_at(record, place, are_cells))
        if found is not None:
            break
    if key not in _IDS or found is None:
        return found
    found = id_text(found)
    if key in _PREFIXED and isinstance(found, str):
        for prefix in said.lists.get("without_prefix", ()):
            found = found.removeprefix(prefix)
    return found


def _time_ms(record: dict[str, Any], said: Said, are_cells: bool) -> int:
    places = [place for place in said.values.get("time", ()) if isinstance(place, str)]
    for place in places:
        value = value_at(record, place, are_cells)
        if value is not None:
            ms = time_ms(value, place, said.time_unit)
            if said.time_zone is None or _has_zone(value):
                return ms
            return in_range(_in_zone(ms, said.time_zone), value, place)
    named = ", ".join(places)
    raise Invalid(f"{named}: there is no time; {_TIME_REMEDY}", {"field": named, "remedy": _TIME_REMEDY})


def _has_zone(value: Any) -> bool:
    """Whether a time says of itself where its clock stands."""
    if isinstance(value, datetime):
        return value.tzinfo is not None
    return isinstance(value, str) and bool(_ZONE.search(value.strip()))


def _in_zone(ms: int, zone: str) -> int:
    """The instant of what a clock of a zone shows; `ms` is what it shows, as if it were UTC. Of two the earlier."""
    shown = datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=ZoneInfo(zone))
    return round(shown.timestamp() * 1000)


def _beside(id: Any, kind: str, number: int) -> str:
    """The id of a further event of a record, within the bound of an id."""
    made = f"{id}:{kind}" + (str(number) if number > 1 else "")
    if len(made) <= MESSAGE_ID_CHARACTERS_MAX:
        return made
    return f"{blake2b(made.encode(), digest_size=16).hexdigest()}:{kind}"
