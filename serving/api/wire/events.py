"""What is answered to those who send events, ours and Segment's clients alike."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Rejected(BaseModel):
    """An event of a batch that was refused."""

    index: int
    code: str
    message: str


class TrackedOut(BaseModel):
    """An event that was taken; `duplicate` when its messageId was there already."""

    success: Literal[True]
    eventId: str
    duplicate: bool
    warnings: list[str] | None = None


class IdentifiedOut(BaseModel):
    """Attributes that were taken, and whose they are."""

    success: Literal[True]
    userId: str
    duplicate: bool
    warnings: list[str] | None = None


class BatchOut(BaseModel):
    """What became of a batch: the good part stands."""

    success: bool
    accepted: int
    duplicates: int
    rejected: list[Rejected]
    warnings: list[str] | None = None


class Forgotten(BaseModel):
    """What was taken, and is not kept."""

    success: Literal[True]


class ProjectSettings(BaseModel):
    """What clients of Segment load at their start. Beside the one destination nothing in it says anything."""

    model_config = ConfigDict(extra="allow")

    integrations: dict[str, dict[str, str]]
