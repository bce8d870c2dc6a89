"""The words that the builder offers, from the API's vocabulary: names as they were seen, with types of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinycdp import Admin
from tinycdp.admin_types import Vocabulary

from dashboard.answers import remembered

Types = frozenset[str]
ANY: Types = frozenset()


@dataclass(frozen=True)
class Aggregate:
    """An aggregate. `needs_property`: it summarises a property; `dates`: it counts dates, so its window is of days.

    `types`: those of its value.
    """

    needs_property: bool
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


def words_of(vocabulary: Vocabulary) -> Words:
    """The words of a vocabulary, events in its order: the most frequent first."""
    return Words(
        {
            event["name"]: {one["name"]: frozenset(one["kinds"]) for one in event["properties"]}
            for event in vocabulary["events"]
        },
        {one["key"]: frozenset(one["kinds"]) for one in vocabulary["attributes"] if not one["path"]},
        {one["key"]: frozenset(one["type"]) for one in vocabulary["traits"]},
        tuple(one["key"] for one in vocabulary["segments"]),
        {
            one["name"]: Aggregate(one["property"] == "required", frozenset(one["type"]), one["dates"])
            for one in vocabulary["aggregates"]
        },
    )


@remembered(60, reads_the_lake=True)
def words(admin: Admin) -> Words:
    """The words as of at most a minute ago, and of at most as long as the API keeps what it read in the lake."""
    return words_of(admin.vocabulary())
