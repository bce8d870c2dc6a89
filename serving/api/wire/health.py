"""Answers about whether the stack and its parts do their work."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class HealthCheck(BaseModel):
    """What one check found; `latency` in milliseconds where something was asked. Some say more."""

    model_config = ConfigDict(extra="allow")

    status: Literal["ok", "error"]
    latency: float | None = None
    error: str | None = None


class HealthOut(BaseModel):
    """Whether a part does its work, and what each check found."""

    status: Literal["ok", "error"]
    service: str
    timestamp: str
    database: Literal["connected", "disconnected"] | None = None
    storage: Literal["connected", "disconnected"] | None = None
    durability: str | None = None
    checks: dict[str, HealthCheck]
