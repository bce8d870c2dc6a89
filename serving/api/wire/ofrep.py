"""Answers in the words of OpenFeature's remote evaluation protocol."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field

ErrorCode: TypeAlias = Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]


class OfrepSuccess(BaseModel):
    """The answer of a flag. `metadata.reason` is the reason in full; OFREP has fewer, so `reason` may be UNKNOWN."""

    key: str
    value: Any
    reason: Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]
    variant: str
    metadata: dict[str, str | bool | float]


class OfrepFailure(BaseModel):
    """The reason why a flag has no answer."""

    key: str | None = None
    errorCode: ErrorCode
    errorDetails: str


class OfrepEventStream(BaseModel):
    """Where a client hears that an answer has changed. One that nobody looks at for so long may close it."""

    type: Literal["sse"]
    url: str
    inactivityDelaySec: int


class OfrepBulk(BaseModel):
    """The answers of all flags. A flag without an answer says why and does not touch the others.

    `eventStreams` is left out while no stream can be had.
    """

    flags: list[OfrepSuccess | OfrepFailure]
    eventStreams: list[OfrepEventStream] = Field(default=[])


class OfrepTrouble(BaseModel):
    """A refusal that has nothing to do with a flag: no key, too much, or a part that is away."""

    success: Literal[False]
    code: str
    message: str
    details: dict[str, Any] | None = None
    errorDetails: str
