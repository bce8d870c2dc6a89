"""Answers about exports."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ExportedOut(BaseModel):
    """A finished export: its members are counted, and `downloadUrl` gives the file to anybody for an hour."""

    downloadUrl: str
    filename: str
    userCount: int


class ExportOut(BaseModel):
    """An export and how far it is."""

    id: str
    segment: str
    filename: str
    state: Literal["waiting", "running", "done", "failed"]
    done: int = Field(description="steps done so far, two for each row of the lake")
    of: int | None = Field(description="steps in all; null while it waits")
    userCount: int = Field(description="members found so far")
    asof: str | None = Field(description="the instant whose members it has; null while it waits")
    error: str | None = None
    downloadUrl: str | None = Field(default=None, description="once it is done")


class StoredExport(BaseModel):
    """A file that is kept. `size` is in bytes; `downloadUrl` gives it to anybody for an hour."""

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
