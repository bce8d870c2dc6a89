"""Requests and answers about expressions that are not saved."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from serving.api.wire.definitions import Expression
from serving.api.wire.shared import Lenient

#: People for whom an expression holds, that one answer shows.
SAMPLE_MAX = 1_000


class ValidateBody(Lenient):
    """An expression to check, unsaved."""

    expression: Expression
    type: str = Field(json_schema_extra={"enum": ["trait", "segment", "flag"]})


class Cost(BaseModel):
    """What saving an expression would cost: bytes of Redis a user, measured on some (left out where there is nobody
    yet), and whether it would be live at once, since all it reads is kept already, or wait for a rebuild."""

    bytesPerUser: float | None = None
    live: bool


class Validated(BaseModel):
    """Whether an expression may be saved; if not, why and where."""

    valid: bool
    error: str | None = None
    details: dict[str, Any] | None = None
    type: list[str] | None = Field(default=None, description="the kinds of value it may give")
    references: list[str] = Field(default=[], description="definitions that it names")
    cost: Cost | None = None
    warnings: list[str] = []


class PreviewBody(ValidateBody):
    """An expression to try on everybody, and how many of those for whom it holds to show."""

    sample: int = Field(default=10, ge=0, le=SAMPLE_MAX)


class PreviewUser(BaseModel):
    """Somebody for whom an expression holds, and its value."""

    id: str
    value: Any


class PreviewOut(BaseModel):
    """For how many of all known ids an expression holds, as of an instant."""

    count: int
    total: int
    sample: list[PreviewUser]
    asof: str
