"""Requests and answers about expressions that are not saved."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from expressions.definitions import KEY_CHARACTERS_MAX, DefinitionKind
from expressions.text import complete
from expressions.text.parse import CHARACTERS_MAX
from serving.api.wire.definitions import Expression
from serving.api.wire.shared import Lenient

#: People that the answer to one preview shows.
SAMPLE_MAX = 1_000

#: What `validate` can be asked for. `cost` and `warnings` read the lake, the others never do.
Part: TypeAlias = Literal["tree", "completions", "text", "warnings", "cost"]

#: A place in a text: a whole number, also where JSON writes it as 5.0.
Position: TypeAlias = Annotated[
    int,
    Field(ge=0, le=CHARACTERS_MAX),
    BeforeValidator(lambda number: int(number) if isinstance(number, float) and number.is_integer() else number),
]

_KINDS: Any = {"enum": list(get_args(DefinitionKind))}


class ValidateBody(Lenient):
    """An expression to check without saving it: its text, or the tree that it is made of."""

    # A text that is asked for parts may be blank: an editor begins with one.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["expression"], "properties": {"expression": {"type": "string", "pattern": r"\S"}}},
                {
                    "required": ["expression", "parts"],
                    "properties": {"expression": {"type": "string"}, "parts": {"type": "array"}},
                },
                {"required": ["tree"], "properties": {"tree": {"type": "object"}}},
            ]
        }
    )

    expression: str | None = Field(default=None, examples=["events.purchase.count_30d"])
    type: str = Field(json_schema_extra=_KINDS)
    tree: dict[str, Any] | None = Field(default=None, description="in place of the text: a tree as `parts` gives it")
    parts: list[Part] | None = Field(
        default=None, max_length=20, description="what to answer; left out: warnings and cost"
    )
    position: Position | None = Field(default=None, description="where to complete; left out: at the end of the text")
    key: str | None = Field(
        default=None, max_length=KEY_CHARACTERS_MAX, description="the key that it is to be saved under"
    )


class Cost(BaseModel):
    """The price of saving an expression. `bytesPerUser` is Redis' memory, measured on some users; it is left out while
    there are none, and where the lake cannot be asked. `live` is true where all that the expression reads is kept
    already; else it waits for a rebuild."""

    bytesPerUser: float | None = None
    live: bool


class Mistake(BaseModel):
    """A mistake and its place: characters [start, end) of the text, counted from 0; `start` may be its very end.

    `way` leads to the part of a tree that has no text, in place of a place.
    """

    message: str
    code: str
    start: int
    end: int
    line: int
    column: int
    expected: str
    nearest: list[str]
    way: str | None = None


class Completion(BaseModel):
    """A text that may stand at [start, end), in place of what is there; `label` is what a list shows."""

    label: str
    text: str
    start: int
    end: int
    kind: complete.Kind
    type: list[str]
    signature: str
    detail: str


class Wanted(BaseModel):
    """What may stand at the position, for help beside the completions.

    `wants`: a value, an operator, a name, a member of an event, or nothing that is known. `names` are those before it
    (`["events", "purchase"]`), `event` the event whose `where` it is in, `signature` and `detail` those of the function
    it is in. A value that is compared with an attribute, or with a property of an event, names it in `compared`.
    """

    wants: complete.Wants
    names: list[str]
    event: str | None = None
    signature: str
    detail: str
    compared: dict[str, str] | None = None


class Beyond(BaseModel):
    """A part that a visual builder of the common shapes cannot show: its text and its place."""

    message: str
    text: str
    start: int
    end: int


class Validated(BaseModel):
    """Whether an expression may be saved; if not, the reason and the place.

    `errors` are all mistakes that can be told at once. `tree`, `text`, `completions`, `warnings` and `cost` are there
    where they were asked for. `beyond` is the first part of the tree that is no common shape, if there is one.
    """

    valid: bool
    error: str | None = None
    details: dict[str, Any] | None = None
    errors: list[Mistake] = []
    type: list[str] | None = Field(default=None, description="the types of value that it may give")
    references: list[str] = Field(default=[], description="definitions that it names")
    cost: Cost | None = None
    warnings: list[str] = []
    text: str | None = Field(default=None, description="the canonical text")
    tree: dict[str, Any] | None = None
    beyond: Beyond | None = None
    completions: list[Completion] | None = None
    wanted: Wanted | None = None


class PreviewBody(Lenient):
    """An expression to try on everybody, and how many people to show for whom it holds."""

    expression: Expression
    type: str = Field(json_schema_extra=_KINDS)
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
