"""Answers to those who send events, our clients and Segment's alike."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Rejected(BaseModel):
    """A refused event of a batch; `index` is its place in the batch."""

    index: int
    code: str
    message: str


class TrackedOut(BaseModel):
    """An event was taken. `duplicate`: its messageId was there already, so it is not counted again."""

    success: Literal[True]
    eventId: str
    duplicate: bool
    warnings: list[str] | None = None


class IdentifiedOut(BaseModel):
    """Attributes were taken. `userId` is the id whose they are."""

    success: Literal[True]
    userId: str
    duplicate: bool
    warnings: list[str] | None = None


class BatchOut(BaseModel):
    """The outcome of a batch: its good events are taken, whatever the others are."""

    success: bool
    accepted: int
    duplicates: int
    rejected: list[Rejected]
    warnings: list[str] | None = None


class Forgotten(BaseModel):
    """Something was taken, and is not kept."""

    success: Literal[True]


class ProjectSettings(BaseModel):
    """The settings that Segment's clients load at their start. They name one destination; the rest is empty."""

    model_config = ConfigDict(extra="allow")

    integrations: dict[str, dict[str, str]]
