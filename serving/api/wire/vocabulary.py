"""Answers about the names that expressions are made of."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from expressions.rules.dtypes import Kind


class SeenProperty(BaseModel):
    """A property of an event: the kinds of value that were seen, and in how many of the rows that were read."""

    name: str = Field(description="dotted where it is nested")
    kinds: list[Kind]
    count: int


class SeenEvent(BaseModel):
    """An event by its name: how many rows of the lake have it, and the latest time."""

    name: str
    count: int
    lastSeen: str
    properties: list[SeenProperty]


class SeenAttribute(BaseModel):
    """A profile attribute, or a name inside its value: the kinds that were seen, and in how many rows."""

    key: str
    path: list[str]
    kinds: list[Kind]
    count: int


class KnownId(BaseModel):
    """A kind of id: as search and profiles name it, before the colon of a record's id, and in what apps send."""

    kind: str
    prefix: str
    fields: list[str]


class KnownTrait(BaseModel):
    """A trait, and the types of value that it may give."""

    key: str
    type: list[Kind]
    description: str


class KnownSegment(BaseModel):
    """A segment."""

    key: str
    description: str


class KnownFunction(BaseModel):
    """A function of the language, with what it takes and gives, and its meaning in a sentence."""

    name: str
    signature: str
    says: str


class KnownAggregate(BaseModel):
    """An aggregate of the language. `property`: whether one must or may stand before it.

    With `dates` it looks back over calendar dates, so its windows are in days.
    """

    name: str
    type: list[Kind]
    property: Literal["required", "optional"]
    dates: bool
    says: str


class VocabularyOut(BaseModel):
    """The names in the lake as of `asof`, and those of the language and of the definitions as of now.

    `rows`: how many of the newest rows properties and attributes were read from. `eventsLeftOut`: how many events there
    are beside those that are named.
    """

    asof: str
    rows: int
    events: list[SeenEvent]
    eventsLeftOut: int
    attributes: list[SeenAttribute]
    ids: list[KnownId]
    traits: list[KnownTrait]
    segments: list[KnownSegment]
    functions: list[KnownFunction]
    aggregates: list[KnownAggregate]


class SeenValue(BaseModel):
    """A value, cut to 200 characters, and in how many rows it was seen; of a list each item counts."""

    value: Any
    count: int


class ValuesOut(BaseModel):
    """Examples of values in the newest rows, the most frequent first."""

    rows: int
    values: list[SeenValue]
