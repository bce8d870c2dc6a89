"""The answer about the system and the key in use."""

from __future__ import annotations

from pydantic import BaseModel, Field


class KeyInUse(BaseModel):
    """The key that a request came with, without its text."""

    id: str
    kind: str
    label: str


class WorkspaceOut(BaseModel):
    """The system as somebody who shows its answers must know it."""

    time_zone: str = Field(description="whose calendar dates count; a name of the IANA database")
    release: str
    now: str
    key: KeyInUse
