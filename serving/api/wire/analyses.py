"""Requests and answers about analyses of everybody."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, Field

from expressions.definitions import DefinitionKind
from serving.api.wire.definitions import Expression
from serving.api.wire.shared import Lenient
from serving.lookups.analyses import ANALYSES, AnalysisKind
from serving.lookups.analysis_runs import State


class AnalysisBody(Lenient):
    """What to analyse: a saved definition by its `key`, or an `expression`, saved or not."""

    analysis: str = Field(json_schema_extra={"enum": list(ANALYSES)})
    kind: str = Field(json_schema_extra={"enum": list(get_args(DefinitionKind))})
    key: str | None = Field(default=None, description="the definition that it is about; saved where no text is sent")
    expression: Expression | None = Field(default=None, description="left out: as the definition is saved")


class TrendPoint(BaseModel):
    """For how many people an expression held at the end of a date in the workspace's time zone; today: now."""

    date: str
    members: int


class TrendOut(BaseModel):
    """The last 90 dates, oldest first, and how many people there are. People and definitions are those of now."""

    points: list[TrendPoint]
    total: int
    asof: str


class SegmentOverlap(BaseModel):
    """A segment, how many people are in it, and how many of them the expression holds for."""

    key: str
    members: int
    both: int


class OverlapOut(BaseModel):
    """For how many of all people the expression holds, and how many of them are in each other segment.

    The segments with the most in common come first, at most 100; `left_out` counts the others.
    """

    members: int
    total: int
    segments: list[SegmentOverlap]
    left_out: int
    asof: str


class AnalysisOut(BaseModel):
    """An analysis and how far it is, from 0 to 1. `result` is there once it is done."""

    id: str
    analysis: AnalysisKind
    kind: DefinitionKind
    key: str | None
    expression: str
    state: State
    progress: float
    result: TrendOut | OverlapOut | None = None
    error: str | None = Field(default=None, description="why it failed or was cancelled")
