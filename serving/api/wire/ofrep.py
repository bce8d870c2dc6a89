"""Answers in the words of OpenFeature's remote evaluation protocol."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class OfrepSuccess(BaseModel):
    """A flag's answer. `metadata.reason` is the reason in full; `reason` knows fewer."""

    key: str
    value: Any
    reason: Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]
    variant: str
    metadata: dict[str, str | bool | float]


class OfrepFailure(BaseModel):
    """Why there is no answer."""

    key: str | None = None
    errorCode: Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]
    errorDetails: str


class OfrepBulk(BaseModel):
    """The answers of all flags; one that cannot be answered says why, and leaves the others."""

    flags: list[OfrepSuccess | OfrepFailure]


class OfrepTrouble(BaseModel):
    """What has nothing to do with a flag: no key, too much, or a part that is away."""

    success: Literal[False]
    code: str
    message: str
    details: dict[str, Any] | None = None
    errorDetails: str
