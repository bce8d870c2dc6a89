"""The typed, flat fields that all executions read, made of the JSON that an app sends.

They are made once, when an event is written to the lake, and in the same way when it enters a record. Nested names are
dotted, a null is no property, and a list stays whole. Where a key with a dot and an object's field have one dotted
name, the longer key counts: a.b of `{"a.b": 1, "a": {"b": 2}}` is 1. A profile attribute is different: its whole value
counts, null included (S8). So an object appears both whole and by its dotted fields, and a dot inside a key is escaped,
which tells it from a dot between two names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .values import canonical_json, from_json, order_key, to_json


class Typed(NamedTuple):
    """A value as the lake's map stores it: at most one of the four is set. All four are null for an attribute's null.

    `json` holds a list or an object as canonical text. In a list an inner list or object becomes null.
    """

    number: float | None = None
    string: str | None = None
    boolean: bool | None = None
    json: str | None = None


def typed(raw: Any) -> Typed:
    """The typed form of a JSON value."""
    match raw:
        case bool():
            return Typed(boolean=raw)
        case int() | float():
            return Typed(number=float(raw) + 0.0)
        case str():
            return Typed(string=raw)
        case list() | tuple():
            return Typed(json=canonical_json(to_json(from_json(raw))))
        case Mapping():
            return Typed(json=canonical_json(raw))
        case _:
            return Typed()


def leaves(
    properties: Mapping[str, Any], prefix: str = "", written: Callable[[str], str] = str
) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every property: booleans, numbers, strings and lists, but no nulls and empty objects.

    Where a dotted name and a nested one meet (`{"a.b": 1, "a": {"b": 2}}`), both are given: of two names that begin
    alike the longer one comes later, and the last one counts. So the order of keys, which JSON does not know, decides
    nothing. `written` gives the text of a name between the dots.
    """
    names = properties.items()
    if any("." in name for name in properties):
        names = sorted(names, key=lambda item: len(item[0]))  # type: ignore[assignment]
    for name, value in names:
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{written(name)}.", written)
        elif value is not None:
            yield f"{prefix}{written(name)}", value


def event_fields(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an event, by dotted name."""
    if any(value is None or isinstance(value, dict) for value in properties.values()):
        return dict(leaves(properties))
    return dict(properties)  # as most are


def attribute_fields(traits: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an identify by `attribute_name`: the value of every key, null included, and leaves of objects."""
    whole = {_between_dots(key): value for key, value in traits.items()}
    if any(isinstance(value, dict) for value in traits.values()):
        return dict(leaves(traits, written=_between_dots)) | whole
    return whole  # as most are


def attribute_name(key: str, path: Iterable[str] = ()) -> str:
    """The name of an attribute, or of a leaf inside its value, among the fields of an identify.

    A dot or a backslash inside a name is written with a backslash before it: the key "a.b" is not the b inside a.
    """
    return ".".join(map(_between_dots, (key, *path)))


#: The name of a whole attribute: it has no dot that is not escaped.
_WHOLE = re.compile(r"(?:[^\\.]|\\.)*", re.DOTALL)


def _between_dots(name: str) -> str:
    return re.sub(r"([\\.])", r"\\\1", name) if "." in name or "\\" in name else name


def attribute_key(name: str) -> str | None:
    """The key of which `attribute_name` made this name; None for the name of a leaf."""
    return re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL) if _WHOLE.fullmatch(name) else None


def attribute_path(name: str) -> tuple[str, ...]:
    """The key and the names inside its value of which `attribute_name` made this name."""
    return tuple(re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in _BETWEEN_DOTS.findall(name))


#: A name between dots that are not escaped; the first of a text, or behind a dot.
_BETWEEN_DOTS = re.compile(r"(?:^|\.)((?:[^\\.]|\\.)*)", re.DOTALL)


def attribute_recency(ts_ms: int, raw: Any) -> tuple[Any, ...]:
    """Sorts the values of one attribute (S8): the greatest is the one that counts.

    The newer value is the greater. At one instant null is the least and objects are the greatest, by their text.
    """
    return (ts_ms, (9, canonical_json(raw)) if isinstance(raw, Mapping) else order_key(from_json(raw)))


def attribute_value(raw: Any, path: tuple[str, ...]) -> Any:
    """The value that `profile.KEY.PATH` reads in the key's whole JSON value; null where the path leads nowhere."""
    for name in path:
        if not isinstance(raw, Mapping):
            return None
        raw = raw.get(name)
    return from_json(raw)
