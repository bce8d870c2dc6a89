"""Requests and answers about analyses of everybody."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, Field

from expressions.definitions import DefinitionKind
from serving.api.wire.definitions import Expression
from serving.api.wire.flag_people import VariantPeople
from serving.api.wire.flags import FlagFields
from serving.api.wire.shared import Lenient
from serving.lookups.analyses import ANALYSES, AnalysisKind
from serving.lookups.analysis_runs import State


class AnalysisBody(Lenient):
    """What to analyse: a saved definition by its `key`, or an `expression`, saved or not."""

    analysis: str = Field(json_schema_extra={"enum": list(ANALYSES)})
    kind: str = Field(json_schema_extra={"enum": list(get_args(DefinitionKind))})
    key: str | None = Field(default=None, description="the definition that it is about; saved where no text is sent")
    expression: Expression | None = Field(default=None, description="left out: as the definition is saved")
    flag: FlagFields | None = Field(default=None, description="of an impact: the settings of the flag that change")
    deleted: bool = Field(default=False, description="of an impact: what a delete of the definition `key` would change")
    version: int | None = Field(default=None, description="of an impact: what a rollback to this version would change")


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


class SomePeople(BaseModel):
    """How many people, and the ids of some of them: none once anybody was deleted since."""

    count: int
    sample: list[str]


class Decided(BaseModel):
    """Whether a flag allows, and its variant."""

    allow: bool
    variant: str | None


class DecisionChange(BaseModel):
    """For how many people a flag's decision becomes another one."""

    before: Decided
    after: Decided
    count: int


class ImpactedDefinition(BaseModel):
    """A definition that an edit reaches: for how many people it holds before and after, and for whom that changes.

    A trait holds where it has a value, a flag where it allows. `changed`: for how many the value or the decision is
    another one. `decisions`: of a flag the 50 most frequent changes.
    """

    kind: DefinitionKind
    key: str
    before: int
    after: int
    changed: int
    enters: SomePeople
    leaves: SomePeople
    decisions: list[DecisionChange]


class ImpactOut(BaseModel):
    """The definition that is edited, and all that an edit reaches by it: the most changed first, at most 100.

    `left_out` counts the others.
    """

    definitions: list[ImpactedDefinition]
    left_out: int
    total: int
    asof: str


class FoundPerson(BaseModel):
    """A person, the variant that a flag gives them, and since when a rebuild saw them in a segment."""

    id: str
    variant: str | None
    since: str | None


class PeopleOut(BaseModel):
    """For how many of all people an expression holds, or whom a flag allows, by variant.

    `sample` has the first by id, 5,000 at most, of each variant as many: none once anybody was deleted since.
    """

    count: int
    total: int
    variants: list[VariantPeople]
    sample: list[FoundPerson]
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
    result: TrendOut | OverlapOut | ImpactOut | PeopleOut | None = None
    error: str | None = Field(default=None, description="why it failed or was cancelled")
