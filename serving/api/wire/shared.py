"""Models that several resources share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Lenient(BaseModel):
    """A request body. Unknown fields are ignored; a field of another type than declared is refused."""

    model_config = ConfigDict(extra="ignore", strict=True)


class ErrorOut(BaseModel):
    """A refusal, whichever call it answers."""

    success: Literal[False]
    code: str
    message: str
    details: dict[str, Any] | None = None
