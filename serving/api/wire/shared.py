"""What admin requests and all answers look like: the source of the OpenAPI document.

The hot paths (track, batch, decide) read and write these shapes by hand; here they are declared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from expressions.definitions import KEY_CHARACTERS_MAX, KEY_PATTERN
from serving.definitions.catalogue import StoredDefinition
from serving.times import rfc3339


def _of_key(example: str) -> Any:
    said: dict[str, Any] = {
        "pattern": f"^{KEY_PATTERN.pattern}$",
        "maxLength": KEY_CHARACTERS_MAX,
        "examples": [example],
    }
    return Field(json_schema_extra=said)


def _of_expression(example: str) -> Any:
    return Field(json_schema_extra={"pattern": r"\S", "examples": [example]})


# What the document says of keys and expressions. The models check none of it: a refusal of ours says what is wrong.
TraitKey: TypeAlias = Annotated[str, _of_key("orders_30d")]
SegmentKey: TypeAlias = Annotated[str, _of_key("loyal")]
FlagKey: TypeAlias = Annotated[str, _of_key("free_shipping")]
Expression: TypeAlias = Annotated[str, _of_expression("events.purchase.count_30d")]
Rule: TypeAlias = Annotated[str, _of_expression("events.purchase.count_30d >= 2")]


class Lenient(BaseModel):
    """A request body. Unknown fields are ignored; a field of another type than its own is refused."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Described(Lenient):
    """What a definition says to people. In a change, what is left out stays as it is."""

    description: str | None = Field(default=None, max_length=2_000)
    owner: str | None = Field(default=None, max_length=200)
    tags: list[str] | None = Field(default=None, max_length=50)


class TraitBody(Described):
    """A new trait."""

    key: TraitKey
    expression: Expression


class TraitChange(Described):
    """A trait's new expression."""

    expression: Expression


class RuleBody(Described):
    """A new segment."""

    key: SegmentKey
    rule: Rule


class RuleChange(Described):
    """A segment's new rule."""

    rule: Rule


class ValidateBody(Lenient):
    """An expression to check, unsaved."""

    expression: Expression
    type: str = Field(json_schema_extra={"enum": ["trait", "segment", "flag"]})


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
    warnings: list[str] = []


class RuleOut(BaseModel):
    """A segment as stored."""

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
    warnings: list[str] = []


class Cost(BaseModel):
    """What saving an expression would cost: bytes of Redis a user, measured on some (left out where there is nobody
    yet), and whether it would be live at once, since all it reads is kept already, or wait for a rebuild."""

    bytesPerUser: float | None = None
    live: bool


class Validated(BaseModel):
    """Whether an expression may be saved; if not, why and where."""

    valid: bool
    error: str | None = None
    details: dict[str, Any] | None = None
    type: list[str] | None = Field(default=None, description="the kinds of value it may give")
    references: list[str] = Field(default=[], description="definitions that it names")
    cost: Cost | None = None
    warnings: list[str] = []


class PreviewBody(ValidateBody):
    """An expression to try on everybody, and how many of those for whom it holds to show."""

    sample: int = Field(default=10, ge=0, le=1_000)


class PreviewUser(BaseModel):
    """Somebody for whom an expression holds, and its value."""

    id: str
    value: Any


class PreviewOut(BaseModel):
    """For how many of all known ids an expression holds, as of an instant."""

    count: int
    total: int
    sample: list[PreviewUser]
    asof: str


class VersionOut(BaseModel):
    """One version of a definition: what it said, who saved it and when; `deleted`: this version took it out."""

    version: int
    expression: str
    author: str
    updated_at: str
    deleted: bool
    settings: dict[str, Any]


class VersionList(BaseModel):
    """Every version of a definition, the newest first."""

    versions: list[VersionOut]


class RollbackBody(Lenient):
    """Which version to bring back."""

    version: int


class KeyBody(Lenient):
    """A key to make. `description` is another name of `label`."""

    kind: str = Field(json_schema_extra={"enum": ["write", "read", "admin"]})
    label: str | None = None
    description: str | None = None


class CreatedKey(BaseModel):
    """A new key; `key` cannot be read again."""

    id: str
    key: str
    kind: str
    label: str
    created_at: str


class KeyOut(BaseModel):
    """A key, without its text. Those of the configuration have no time of making and cannot be revoked here."""

    id: str
    kind: str
    label: str
    author: str
    created_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class KeyList(BaseModel):
    """All keys."""

    keys: list[KeyOut]


class AuditEntry(BaseModel):
    """One thing that an admin did; `author` is the label of the key that was used."""

    at: str
    author: str
    action: str
    kind: str
    key: str
    details: dict[str, Any]


class AuditPage(BaseModel):
    """A page of the audit log."""

    entries: list[AuditEntry]
    total: int
    hasMore: bool


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


class OfrepSuccess(BaseModel):
    """A flag's answer. `metadata.reason` is the reason in full; `reason` knows fewer."""

    key: str
    value: Any
    reason: Literal["STATIC", "TARGETING_MATCH", "SPLIT", "DISABLED", "UNKNOWN"]
    variant: str
    metadata: dict[str, str | bool | float]


class OfrepFailure(BaseModel):
    """Why there is no answer."""

    key: str | None = None
    errorCode: Literal["PARSE_ERROR", "TARGETING_KEY_MISSING", "INVALID_CONTEXT", "FLAG_NOT_FOUND", "GENERAL"]
    errorDetails: str


class OfrepBulk(BaseModel):
    """The answers of all flags; one that cannot be answered says why, and leaves the others."""

    flags: list[OfrepSuccess | OfrepFailure]


class OfrepTrouble(BaseModel):
    """What has nothing to do with a flag: no key, too much, or a part that is away."""

    success: Literal[False]
    code: str
    message: str
    details: dict[str, Any] | None = None
    errorDetails: str


class ErrorOut(BaseModel):
    """Every refusal."""

    success: Literal[False]
    code: str
    message: str
    details: dict[str, Any] | None = None


def shown(stored: StoredDefinition, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """A stored definition as the wire shows it; `warnings` are said when it is saved, of names that were never seen."""
    out: dict[str, Any] = {
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
        "warnings": list(warnings),
    }
    if stored.kind == "flag":
        out |= {"enabled": True, "default": False, "salt": stored.key}
        out |= {name: value for name, value in stored.settings.items() if name != "intervals"}
    return out
