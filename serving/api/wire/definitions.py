"""Requests and answers about traits and segments, and about versions of any definition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, Field

from expressions.definitions import KEY_CHARACTERS_MAX, KEY_PATTERNS, DefinitionKind, Key
from serving.api.wire.shared import Lenient
from serving.definitions.catalogue import StoredDefinition
from serving.times import rfc3339

#: Characters of a description and of an owner, and how many tags a definition has.
DESCRIPTION_CHARACTERS_MAX = 2_000
OWNER_CHARACTERS_MAX = 200
TAGS_MAX = 50
#: Characters of what a save says about itself.
NOTE_CHARACTERS_MAX = 500


def _of_key(kind: DefinitionKind, example: str) -> Any:
    schema: dict[str, Any] = {
        "pattern": f"^{KEY_PATTERNS[kind].pattern}$",
        "maxLength": KEY_CHARACTERS_MAX,
        "examples": [example],
    }
    return Field(json_schema_extra=schema)


def _of_expression(example: str) -> Any:
    return Field(json_schema_extra={"pattern": r"\S", "examples": [example]})


# Keys and expressions with their bounds for the document. The models do not check them: our own refusals say more.
TraitKey: TypeAlias = Annotated[str, _of_key("trait", "orders_30d")]
SegmentKey: TypeAlias = Annotated[str, _of_key("segment", "loyal")]
FlagKey: TypeAlias = Annotated[str, _of_key("flag", "free_shipping")]
Expression: TypeAlias = Annotated[str, _of_expression("events.purchase.count_30d")]
Rule: TypeAlias = Annotated[str, _of_expression("events.purchase.count_30d >= 2")]


#: The definitions that refer to one directly.
UsedBy: TypeAlias = Annotated[list[str], Field(description="ids of the definitions that refer to it, as segment:loyal")]
#: How many users a definition is about.
Size: TypeAlias = Annotated[
    int | None,
    Field(
        description="members of a segment, users with a value of a trait, by the last full rebuild; null of a flag, and"
        " until a rebuild has seen the last change"
    ),
]
#: Whether the version waits for the lake's history.
Pending: TypeAlias = Annotated[
    Literal["pending"] | None,
    Field(description="pending: it is in force, and the lake's history and the audit log will have it later"),
]


class Noted(Lenient):
    """A change of a definition. `note` says why: the history and the audit log keep it with the version."""

    note: str | None = Field(default=None, max_length=NOTE_CHARACTERS_MAX)


class Described(Noted):
    """The part of a definition that is for people. A change leaves as it is what it does not have; null empties it."""

    description: str | None = Field(default=None, max_length=DESCRIPTION_CHARACTERS_MAX)
    owner: str | None = Field(default=None, max_length=OWNER_CHARACTERS_MAX)
    tags: list[str] | None = Field(default=None, max_length=TAGS_MAX)


class TraitBody(Described):
    """A new trait."""

    key: TraitKey
    expression: Expression


class TraitChange(Described):
    """A change of a trait."""

    expression: Expression


class RuleBody(Described):
    """A new segment."""

    key: SegmentKey
    rule: Rule


class RuleChange(Described):
    """A change of a segment."""

    rule: Rule


class TraitOut(BaseModel):
    """A trait as stored. Times are RFC 3339."""

    id: str
    key: str
    expression: str
    version: int
    author: str
    description: str
    owner: str
    tags: list[str]
    created_at: str
    updated_at: str
    used_by: UsedBy
    size: Size
    warnings: list[str] = []
    history: Pending = None


class RuleOut(BaseModel):
    """A segment as stored. Times are RFC 3339."""

    id: str
    key: str
    rule: str
    version: int
    author: str
    description: str
    owner: str
    tags: list[str]
    created_at: str
    updated_at: str
    used_by: UsedBy
    size: Size
    warnings: list[str] = []
    history: Pending = None


class VersionOut(BaseModel):
    """One version of a definition: its expression, who saved it and when. `deleted`: this version deleted it."""

    version: int
    expression: str
    author: str
    updated_at: str
    deleted: bool
    settings: dict[str, Any]
    note: str


class VersionList(BaseModel):
    """Every version of a definition, the newest first."""

    versions: list[VersionOut]


class RollbackBody(Noted):
    """The version to bring back."""

    version: int


def wire_definition(
    stored: StoredDefinition,
    warnings: Sequence[str] = (),
    is_pending: bool = False,
    used_by: Sequence[Key] = (),
    size: int | None = None,
) -> dict[str, Any]:
    """A stored definition in the shape of `TraitOut`, `RuleOut` or `FlagOut`.

    `warnings` name what it reads and nobody ever sent, and comparisons that never hold. They are known when it is
    saved, and not kept. So is `is_pending`: the lake's history lacks it yet. `used_by` are the definitions that refer
    to it, `size` is how many users it is about.
    """
    definition: dict[str, Any] = {
        "id": f"{stored.kind}:{stored.key}",
        "key": stored.key,
        "expression" if stored.kind == "trait" else "rule": stored.expression,
        "version": stored.version,
        "author": stored.author,
        "description": stored.settings.get("description", ""),
        "owner": stored.settings.get("owner", ""),
        "tags": stored.settings.get("tags", []),
        "created_at": rfc3339(stored.created_ms),
        "updated_at": rfc3339(stored.updated_ms),
        "used_by": [f"{kind}:{key}" for kind, key in used_by],
        "size": size,
        "warnings": list(warnings),
        "history": "pending" if is_pending else None,
    }
    if stored.kind == "flag":
        definition |= {"enabled": True, "default": False, "salt": stored.key}
        definition |= {name: value for name, value in stored.settings.items() if name != "intervals"}
    return definition
