"""Requests and answers about expressions that are not saved."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, Field

from expressions.definitions import DefinitionKind
from serving.api.wire.definitions import Expression
from serving.api.wire.shared import Lenient

#: People that the answer to one preview shows.
SAMPLE_MAX = 1_000


class ValidateBody(Lenient):
    """An expression to check without saving it."""

    expression: Expression
    type: str = Field(json_schema_extra={"enum": list(get_args(DefinitionKind))})


class Cost(BaseModel):
    """The price of saving an expression. `bytesPerUser` is Redis' memory, measured on some users; it is left out while
    there are none. `live` is true where all that the expression reads is kept already; else it waits for a rebuild."""

    bytesPerUser: float | None = None
    live: bool


class Validated(BaseModel):
    """Whether an expression may be saved; if not, the reason and the place."""

    valid: bool
    error: str | None = None
    details: dict[str, Any] | None = None
    type: list[str] | None = Field(default=None, description="the types of value that it may give")
    references: list[str] = Field(default=[], description="definitions that it names")
    cost: Cost | None = None
    warnings: list[str] = []


class PreviewBody(ValidateBody):
    """An expression to try on everybody, and how many people to show for whom it holds."""

    sample: int = Field(default=10, ge=0, le=SAMPLE_MAX)


class PreviewUser(BaseModel):
    """A person for whom an expression holds, and its value."""

    id: str
    value: Any


class Bin(BaseModel):
    """The people whose number is in [low, high); in the last bin of a histogram also those at `high`."""

    low: float
    high: float
    count: int


class TopValue(BaseModel):
    """A value that is no number, or an item of lists, and how many people have it. A text is cut to 200 characters."""

    value: Any
    count: int


class Distribution(BaseModel):
    """How the values of a trait are spread over everybody. `none`: people without a value.

    `histogram` has at most 20 bins of the numbers. They are as wide as each other, but for the last, which reaches from
    the 99th percentile up to the greatest number. `top` has the 20 most frequent of the `distinct` other values.
    """

    none: int
    histogram: list[Bin]
    top: list[TopValue]
    distinct: int


class PreviewOut(BaseModel):
    """For how many of all people an expression holds, as of an instant; of a trait the distribution of its values."""

    count: int
    total: int
    sample: list[PreviewUser]
    distribution: Distribution | None = None
    asof: str
