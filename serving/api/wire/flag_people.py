"""The answer whom a flag allows."""

from __future__ import annotations

from pydantic import BaseModel


class AllowedPerson(BaseModel):
    """A person whom a flag allows, and the variant that they get, if it has some."""

    id: str
    variant: str | None


class VariantPeople(BaseModel):
    """How many people get a variant."""

    variant: str
    count: int


class FlagPeopleOut(BaseModel):
    """How many of all people a flag allows as of an instant, by variant, and a page of them by id."""

    key: str
    count: int
    total: int
    variants: list[VariantPeople]
    users: list[AllowedPerson]
    hasMore: bool
    asof: str
