"""Where in a record a value stands, and objects that are put together of several places.

    place    `user_id`; `properties.$insert_id`, inside an object, a list (`ids.0`) or a text of JSON
    source   a place of an object, whose members are meant; of anything else, which keeps its last name
             `context_*`: all columns that begin so, without that beginning; `*`: all that nothing else takes

An object may come in the shapes that vendors give it: a list of keys and values (GA4), or one that names its schema
(Snowplow). `members` makes plain names and values of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from pipelines.importing.cells import NANS, cell_value, is_absent, plain

#: The schema that an object names, and in it the name: iglu:com.acme/checkout/jsonschema/1-0-0.
_SCHEMA = re.compile(r"iglu:[^/]+/([^/]+)/[^/]+/[^/]+\Z")
#: Members of a value in a list of keys and values, in this order; `int_value` may be text, as JSON of BigQuery has it.
_VALUES = ("string_value", "int_value", "float_value", "double_value")


def value_at(record: dict[str, Any], place: str, are_cells: bool = False) -> Any:
    """The value at a place; None where it is absent: missing, null, NaN, an empty text, object or list.

    A column that is a text of JSON stays in the record as what it says, since more of it is asked for mostly.
    """
    head = place.partition(".")[0]
    if place not in record and head in record:
        record[head] = opened(record[head])
    found = _found(record, place)
    if is_absent(found) or found == {} or found == [] or (are_cells and isinstance(found, str) and found in NANS):
        return None
    return found


def _found(within: Any, place: str) -> Any:
    if isinstance(within, list):
        at, _, rest = place.partition(".")
        if not at.isdecimal() or int(at) >= len(within):
            return None
        return _found(opened(within[int(at)]), rest) if rest else within[int(at)]
    if not isinstance(within, dict):
        return None
    if place in within:
        return within[place]
    head, dot, rest = place.partition(".")
    if not dot or within.get(head) is None:
        return None
    return _found(opened(within[head]), rest)


def opened(value: Any) -> Any:
    """What a text of JSON says, if that is an object or a list; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(value)
    return value


def members(
    record: dict[str, Any], sources: Sequence[str | Mapping[str, str]], rest: Sequence[str], are_cells: bool
) -> dict[str, Any]:
    """The object that the sources give together; of two values of a name the later counts. `rest` are the columns that
    nothing else takes. Absent values are left out. Raises `Invalid` for a number that is not finite.
    """
    found: dict[str, Any] = {}
    for source in sources:
        if isinstance(source, Mapping):
            named = {name: _whole(value_at(record, place, are_cells)) for name, place in source.items()}
        elif source.endswith("*"):
            names = rest if source == "*" else [name for name in record if name.startswith(source[:-1])]
            named = {name.removeprefix(source[:-1]): _cell(record[name], are_cells) for name in names if name in record}
        else:
            named = _spread(source.rpartition(".")[2], value_at(record, source, are_cells), are_cells)
        for name, value in named.items():
            present = plain(value)
            if not is_absent(present):
                found[name] = present
    return found


def _cell(value: Any, are_cells: bool) -> Any:
    return cell_value(value) if are_cells and isinstance(value, str) else value


def _whole(value: Any) -> Any:
    return opened(value)


def _spread(name: str, value: Any, are_cells: bool) -> dict[str, Any]:
    """The members of an object of any shape; a value that is none under its name."""
    value = _described(opened(value))
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        if all("key" in one and "value" in one for one in value):
            return {str(one["key"]): _paired(one["value"]) for one in value}
        names = [_schema(one) for one in value]
        if all(names):
            return _by_schema([str(one) for one in names], [_described(one) for one in value])
    return {name: _cell(value, are_cells)}


def _schema(value: Any) -> str | None:
    """The name of the schema of an object that describes itself; None of any other value."""
    if not isinstance(value, dict) or value.keys() != {"schema", "data"} or not isinstance(value["schema"], str):
        return None
    match = _SCHEMA.match(value["schema"])
    return match[1] if match else None


def _described(value: Any) -> Any:
    while _schema(value) is not None:
        value = opened(value["data"])
    return value


def _by_schema(names: list[str], values: list[Any]) -> dict[str, Any]:
    """The values under the names of their schemas; of a name that comes more often all of them, in a list."""
    found: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        if names.count(name) == 1:
            found[name] = value
        else:
            found.setdefault(name, []).append(value)
    return found


def _paired(value: Any) -> Any:
    """The value of a key: the member that is there, where it has one for each type."""
    if not isinstance(value, dict) or not any(name in value for name in _VALUES):
        return value
    name = next((name for name in _VALUES if value.get(name) is not None), None)
    if name is None:
        return None
    found = value[name]
    return int(found) if name == "int_value" and isinstance(found, str) and found.lstrip("-").isdecimal() else found
