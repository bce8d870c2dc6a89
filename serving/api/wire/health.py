"""Answers about whether the stack and its parts do their work."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class HealthCheck(BaseModel):
    """The result of one check. `latency` is in milliseconds, where something was asked. Some checks add fields."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "error"]
    latency: float | None = None
    error: str | None = None


class HealthOut(BaseModel):
    """Whether a part does its work, and the result of each check."""

    status: Literal["ok", "error"]
    service: str
    timestamp: str
    database: Literal["connected", "disconnected"] | None = None
    storage: Literal["connected", "disconnected"] | None = None
    durability: str | None = None
    checks: dict[str, HealthCheck]
