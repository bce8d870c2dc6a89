"""The words that the builder offers, from the API's vocabulary: names as they were seen, with types of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Types = frozenset[str]
ANY: Types = frozenset()


@dataclass(frozen=True)
class Aggregate:
    """An aggregate. `takes`: whether it summarises a property: "required", "optional" or "none".

    `types` is empty where they are those of the property. `dates`: it counts calendar dates, so its window is of days.
    """

    takes: str
    types: Types
    dates: bool


@dataclass(frozen=True)
class Words:
    """Names with the types of their values, an empty set where they are not known."""

    events: Mapping[str, Mapping[str, Types]] = field(default_factory=dict)
    attributes: Mapping[str, Types] = field(default_factory=dict)
    traits: Mapping[str, Types] = field(default_factory=dict)
    segments: tuple[str, ...] = ()
    aggregates: Mapping[str, Aggregate] = field(default_factory=dict)
