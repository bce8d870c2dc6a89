"""The answer who is in a segment."""

from __future__ import annotations

from pydantic import BaseModel


class SegmentMember(BaseModel):
    """A member, and when a rebuild first saw the membership; null until one has."""

    id: str
    since: str | None


class SegmentMembersOut(BaseModel):
    """How many of all people are in a segment as of an instant, and a page of them by id; the next one by `cursor`.

    `fresh`: it was computed now; else it is as of the last full rebuild.
    """

    key: str
    count: int
    total: int
    members: list[SegmentMember]
    cursor: str | None
    asof: str
    fresh: bool
