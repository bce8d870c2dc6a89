"""Requests and answers about runs of the worker."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from serving.api.wire.shared import Lenient

#: Ids that one rebuild of ids may name.
IDS_MAX = 1_000
#: A body is empty, or has a field that is known.
_NOT_UNKNOWN_ALONE: JsonDict = {"anyOf": [{"maxProperties": 0}, {"required": ["ids"]}, {"required": ["at"]}]}


class RunOut(BaseModel):
    """A run of the worker. `of` is what it is about, `cause` why it began, `by` the label of the key that asked.

    `counts` are what it did: of a rebuild a row of the lake's `runs`, of a purge and of maintenance what they say.
    """

    id: str
    work: str
    of: str
    state: Literal["waiting", "running", "done", "failed", "lost"]
    cause: Literal["admin", "prefect", "request", "schedule"]
    by: str
    asked_at: str | None
    began_at: str | None
    ended_at: str | None
    seconds: float | None
    counts: dict[str, Any]
    error: str | None


class RunPage(BaseModel):
    """A page of the worker's runs, the newest first."""

    runs: list[RunOut]
    total: int
    hasMore: bool


class RebuildBody(Lenient):
    """A rebuild to ask for: of everybody, of the records of some ids, or as of a time that has passed, in ISO 8601.

    Unknown fields are ignored beside known ones. Alone they are refused: a misspelt `ids` would rebuild everybody.
    """

    model_config = ConfigDict(extra="allow", json_schema_extra=_NOT_UNKNOWN_ALONE)

    ids: list[str] | None = Field(default=None, min_length=1, max_length=IDS_MAX)
    at: str | None = None


class RunAsked(BaseModel):
    """A run that was asked for. `GET /v1/admin/runs` says what becomes of it."""

    id: str
