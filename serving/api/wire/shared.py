"""Models that several resources share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from expressions.live.changes import NextChange, NoInstant
from serving.times import RFC3339_MAX_MS, rfc3339


class Lenient(BaseModel):
    """A request body. Unknown fields are ignored; a field of another type than declared is refused."""

    model_config = ConfigDict(extra="ignore", strict=True)


class ErrorOut(BaseModel):
    """A refusal, whichever call it answers."""

    success: Literal[False]
    code: str
    message: str
    details: dict[str, Any] | None = None


def wire_change(change: NextChange) -> str:
    """When something changes next by time alone: an instant, `never`, or `unknown`."""
    if isinstance(change, NoInstant):
        return change.value
    return rfc3339(change) if change <= RFC3339_MAX_MS else NoInstant.NEVER.value
