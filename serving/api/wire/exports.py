"""What the calls about exports answer, for the OpenAPI document."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ExportedOut(BaseModel):
    """A finished export: where its file can be had for an hour, by whoever has the address, and how many are in it."""

    downloadUrl: str
    filename: str
    userCount: int


class ExportOut(BaseModel):
    """An export and how far it is."""

    id: str
    segment: str
    filename: str
    state: Literal["waiting", "running", "done", "failed"]
    done: int = Field(description="rows of the lake that were looked at so far")
    of: int | None = Field(description="of how many; null while it waits")
    userCount: int = Field(description="members found so far")
    asof: str | None = Field(description="the instant whose members it has; null while it waits")
    error: str | None = None
    downloadUrl: str | None = Field(default=None, description="once it is done")


class StoredExport(BaseModel):
    """A file that is kept: its size in bytes, and where it can be had for an hour."""

    name: str
    size: int
    etag: str | None
    created_at: str
    downloadUrl: str | None = None


class ExportList(BaseModel):
    """A page of the files that are kept, the newest first."""

    exports: list[StoredExport]
    total: int
    hasMore: bool
