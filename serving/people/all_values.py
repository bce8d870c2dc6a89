"""Every trait and segment of a person, live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from expressions.definitions import Key
from expressions.live.changes import NextChange
from expressions.rules.values import to_json
from serving.people.next_changes import next_changes
from serving.people.person import Person

_encode = msgspec.json.Encoder().encode


class Foreseen(NamedTuple):
    """The values of a person, when each that is not warming changes, and the ids that need a rebuild of their own."""

    values: dict[str, Any]
    changes: Mapping[Key, NextChange]
    lacking: tuple[str, ...]


def all_values(person: Person) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Every trait and segment of a person as the API answers them, and the ids that need a rebuild of their own."""
    keys = sorted(key for key in person.catalogue.definitions if key[0] != "flag")
    answers = person.answers(keys)
    values = {key: to_json(answers.values[key].value) for key in keys}
    return {
        "traits": {key: value for (kind, key), value in values.items() if kind == "trait"},
        "segments": {key: value for (kind, key), value in values.items() if kind == "segment"},
        "asof": answers.asof,
        "exact": answers.exact,
        "warming": sorted({key for _, key in answers.warming}),
    }, answers.lacking


def all_values_as_json(person: Person) -> tuple[bytes, tuple[str, ...]]:
    """The same, as it is answered."""
    values, lacking = all_values(person)
    return _encode(values), lacking


def all_values_foreseen(person: Person) -> Foreseen:
    """Every trait and segment of a person, and when time alone changes them."""
    values, lacking = all_values(person)
    warming = set(values["warming"])
    keys = [key for key in person.catalogue.definitions if key[0] != "flag" and key[1] not in warming]
    return Foreseen(values, next_changes(person, keys), lacking)
