"""Warnings of whole numbers that no float holds: an id of 18 digits that is sent as a number loses its last ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from expressions.rules.values import GAPS_FROM
from serving.refusals import cut
from serving.store.logged_event import Accepted

#: Fields that one answer names.
FIELDS_MAX = 20


def inexact_warnings(events: Iterable[Accepted]) -> list[str]:
    """A sentence for each field of some events with such a number, `FIELDS_MAX` at most."""
    found: dict[str, int] = {}
    for event in events:
        for name, number in large_numbers_of(event):
            if len(found) == FIELDS_MAX:
                break
            found.setdefault(name, number)
    return [
        f"{cut(name)}: {cut(str(number))} is a whole number from 2^53 on, where numbers have gaps; send it as a string"
        for name, number in found.items()
    ]


def large_numbers_of(event: Accepted) -> Iterator[tuple[str, int]]:
    """The fields of an event with such a number, and the number."""
    for place, value in (("properties", event.properties), ("traits", event.traits)):
        if value:
            yield from _large(place, value)


def _large(place: str, tree: Mapping[str, Any] | list[Any]) -> Iterator[tuple[str, int]]:
    """The large whole numbers inside an object; those of a list by the name of the list."""
    items = tree.items() if isinstance(tree, Mapping) else ((None, value) for value in tree)
    for name, value in items:
        kind = type(value)
        if kind is int:
            if not -GAPS_FROM < value < GAPS_FROM:
                yield (place if name is None else f"{place}.{name}"), value
        elif kind is dict or kind is list:
            yield from _large(place if name is None else f"{place}.{name}", value)
