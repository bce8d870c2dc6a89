"""Where in a record a value stands, and objects that are put together of several places.

    place    `user_id`; `properties.$insert_id`, inside an object or a text of JSON; `ids.0`, in a list;
             `event_params.page_title`, in a list of keys and values
    source   a place of an object, whose members are meant; of anything else, which keeps its last name
             `context_*`: all columns that begin so, without that beginning; `*`: all that nothing else takes

An object may come in the shapes that vendors give it: a list of keys and values (GA4), or one that names its schema
(Snowplow). `members` makes plain names and values of both.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from pipelines.importing.cells import NANS, cell_value, forced_number, forced_text, is_absent, plain

#: The schema that an object names, and in it the name: iglu:com.acme/checkout/jsonschema/1-0-0.
_SCHEMA = re.compile(r"iglu:[^/]+/([^/]+)/[^/]+/[^/]+\Z")
#: Members of a value in a list of keys and values, in this order; `int_value` may be text, as JSON of BigQuery has it.
_VALUES = ("string_value", "int_value", "float_value", "double_value")


def value_at(record: dict[str, Any], place: str, are_cells: bool = False) -> Any:
    """The value at a place; None where it is absent: missing, null, NaN, an empty text, object or list.

    A column that is a text of JSON stays in the record as what it says, since more of it is asked for mostly.
    """
    if place in record:
        found = record[place]
    else:
        head, _, rest = place.partition(".")
        inner = record.get(head)
        if not rest or inner is None:
            return None
        if type(inner) is str:
            inner = record[head] = opened(inner)
        found = _found(inner, rest)
    if not found:
        return found if found is False or found == 0 else None
    return None if is_absent(found) or (are_cells and isinstance(found, str) and found in NANS) else found


def of_columns(row: dict[str, Any]) -> dict[str, Any]:
    """A row of columns in which the members of objects that are null are absent: all rows have all of them."""
    return {name: _present(value) if isinstance(value, (dict, list)) else value for name, value in row.items()}


def _present(value: Any) -> Any:
    match value:
        case dict():
            inner = ((name, _present(one)) for name, one in value.items())
            return {name: one for name, one in inner if one is not None}
        case list():
            return [_present(one) for one in value]
    return plain(value)


def _found(within: Any, place: str) -> Any:
    if isinstance(within, list):
        head, _, rest = place.partition(".")
        if head.isdecimal():
            inner = within[int(head)] if int(head) < len(within) else None
        else:
            inner = next((_paired(one["value"]) for one in within if _is_pair(one) and one["key"] == head), None)
        return _found(opened(inner), rest) if rest else inner
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


@dataclass(frozen=True)
class Casts:
    """How values are taken. `are_cells`: columns are cells of text, each of which says itself what it is, but for the
    names in `text` and `number`. Names in `left_out`, and those that begin with one of `begins`, are left out.
    """

    are_cells: bool = False
    text: Collection[str] = ()
    number: Collection[str] = ()
    left_out: Collection[str] = ()
    begins: tuple[str, ...] = ()

    def column(self, value: Any, name: str) -> Any:
        """The value of a column that becomes the member of a name."""
        is_cell = self.are_cells and isinstance(value, str) and name not in self.text and name not in self.number
        return cell_value(value) if is_cell else plain(value)

    def member(self, value: Any, name: str) -> Any:
        """The value that a member has. Raises `Invalid`."""
        if value is None:
            return None
        if name in self.text:
            return forced_text(value)
        return forced_number(value, name) if name in self.number else value


def members(
    record: dict[str, Any], sources: Sequence[str | Mapping[str, str]], rest: Sequence[str], casts: Casts
) -> dict[str, Any]:
    """The object that the sources give together; of two values of a name the later counts. `rest` are the columns that
    nothing else takes. Raises `Invalid` for a number that is not finite.

    A column that is absent gives no member. A null inside of an object says something: of an attribute that it goes.
    """
    found: dict[str, Any] = {}
    for source in sources:
        for name, value in _given(record, source, rest, casts).items():
            if name not in casts.left_out and not (casts.begins and name.startswith(casts.begins)):
                found[name] = casts.member(value, name)
    return found


def _given(
    record: dict[str, Any], source: str | Mapping[str, str], rest: Sequence[str], casts: Casts
) -> dict[str, Any]:
    """The members that one source gives."""
    if isinstance(source, Mapping):
        named = {name: _at(record, place, name, casts) for name, place in source.items()}
    elif source.endswith("*"):
        begin = source[:-1]
        columns = [name for name in record if name.startswith(begin)] if begin else rest
        named = {name[len(begin) :]: casts.column(record[name], name[len(begin) :]) for name in columns}
    else:
        name = source.rpartition(".")[2]
        value = _described(_at(record, source, name, casts))
        if isinstance(value, dict):
            return value
        named = _spread(name, value)
    return {name: value for name, value in named.items() if not is_absent(value)}


def _at(record: dict[str, Any], place: str, name: str, casts: Casts) -> Any:
    """The value at a place that becomes the member of a name."""
    value = value_at(record, place, casts.are_cells)
    if value is None:
        return None
    inside = opened(value)
    return casts.column(value, name) if inside is value and place in record else inside


def _spread(name: str, value: Any) -> dict[str, Any]:
    """The members of a list of keys and values, or of objects with a schema; any other value under its name."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        if all(_is_pair(one) for one in value):
            return {str(one["key"]): _paired(one["value"]) for one in value}
        names = [_schema(one) for one in value]
        if all(names):
            return _by_schema([str(one) for one in names], [_described(one) for one in value])
    return {name: value}


def _is_pair(value: Any) -> bool:
    return isinstance(value, dict) and "key" in value and "value" in value


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
    if not isinstance(value, dict) or not value.keys() <= {*_VALUES, "set_timestamp_micros"}:
        return value
    name = next((name for name in _VALUES if value.get(name) is not None), None)
    if name is None:
        return None
    found = value[name]
    return int(found) if name == "int_value" and isinstance(found, str) and found.lstrip("-").isdecimal() else found
