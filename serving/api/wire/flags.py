"""Requests and answers about flags, and decisions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from expressions.live.changes import NoInstant
from serving.api.wire.definitions import Described, FlagKey, Rule, RuleOut
from serving.api.wire.shared import Lenient
from serving.definitions.flags import (
    CACHE_S_MAX,
    NAME_CHARACTERS_MAX,
    PREREQUISITES_MAX,
    USERS_MAX,
    VARIANTS_MAX,
    WEIGHT_MAX,
)
from serving.people.decide import Decision
from serving.times import RFC3339_MAX_MS, rfc3339


class VariantBody(Lenient):
    """A variant. Weights are relative to each other. Without a `value` its value is its name; null is refused."""

    name: str = Field(min_length=1, max_length=NAME_CHARACTERS_MAX)
    weight: float = Field(default=1, ge=0, le=WEIGHT_MAX)
    value: Any = None


class PrerequisiteBody(Lenient):
    """Another flag that must allow, with this variant where one is named."""

    flag: str
    variant: str | None = None


class FlagFields(Described):
    """The settings of a flag besides its rule. A change keeps a setting that it leaves out; null resets it."""

    enabled: bool | None = Field(default=None, description="true if left out")
    default: bool | str | None = Field(
        default=None,
        description="the variant where the flag does not allow; or true: allow while the flag is off or warming",
    )
    variants: list[VariantBody] | None = Field(default=None, max_length=VARIANTS_MAX)
    rollout: float | None = Field(default=None, ge=0, le=100, description="percentage of those whom the rule allows")
    salt: str | None = Field(default=None, max_length=NAME_CHARACTERS_MAX, description="the flag's key if left out")
    bucket_by: str | None = Field(default=None, description="userId, deviceId or trait:KEY")
    starts_at: str | None = Field(default=None, description="ISO 8601; the flag is off before")
    ends_at: str | None = Field(default=None, description="ISO 8601; the flag is off from here on")
    prerequisites: list[PrerequisiteBody] | None = Field(default=None, max_length=PREREQUISITES_MAX)
    users: dict[str, bool | str] | None = Field(
        default=None, max_length=USERS_MAX, description="id to true, false or a variant, whatever the rule says"
    )
    cache_seconds: int | None = Field(default=None, ge=0, le=CACHE_S_MAX)

    def settings(self) -> dict[str, Any]:
        """The settings that were sent, in the shape that `flags.settings_after` takes."""
        return self.model_dump(include=set(FlagFields.model_fields) - {"note"}, exclude_unset=True)


class FlagBody(FlagFields):
    """A new flag. Without a rule it is for everybody."""

    key: FlagKey
    rule: Rule | None = None


class FlagChange(FlagFields):
    """A change of a flag. A rule that is left out stays; null is for everybody."""

    rule: Rule | None = None


class VariantOut(BaseModel):
    """A variant."""

    name: str
    weight: float
    value: Any


class PrerequisiteOut(BaseModel):
    """Another flag that must allow, with this variant where one is named."""

    flag: str
    variant: str | None = None


class FlagOut(RuleOut):
    """A flag as stored."""

    enabled: bool
    default: bool | str
    variants: list[VariantOut] = Field(default=[])
    rollout: float = 100
    salt: str = ""
    bucket_by: str = "userId"
    starts_at: str | None = None
    ends_at: str | None = None
    prerequisites: list[PrerequisiteOut] = Field(default=[])
    users: dict[str, bool | str] = Field(default={})
    cache_seconds: int = 0


class DecisionOut(BaseModel):
    """What a flag says for a user, and why. `explain=true` adds the last two fields."""

    allow: bool
    variant: str | None
    value: Any
    reasons: list[str]
    reason: Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "CACHED", "DISABLED", "UNKNOWN", "STALE", "ERROR"]
    userId: str
    flag: str
    valid_until: str | None = Field(
        default=None, description="until then no answer changes by time alone; null where no change is in sight"
    )
    explanation: dict[str, Any] | None = None


class DecidedOut(DecisionOut):
    """One decision. `asof` says what it rests on."""

    asof: dict[str, Any]


class DecisionsOut(BaseModel):
    """Several decisions for one user, as of one moment. `asof` says what they rest on."""

    userId: str
    decisions: list[DecisionOut]
    asof: dict[str, Any]


class StreamedDecisionsOut(DecisionsOut):
    """The same, and where a change is told: a path behind the API's own address, if it was asked for and can be had."""

    stream: str | None = None


def wire_decision(key: str, user: str, decision: Decision) -> dict[str, Any]:
    """A decision in the shape of `DecisionOut`; `asof` is put beside it. Plain JSON, since this is a hot path."""
    body = {
        "allow": decision.allow,
        "variant": decision.variant,
        "value": decision.value,
        "reasons": decision.reasons,
        "reason": decision.reason,
        "userId": user,
        "flag": key,
    }
    if decision.explanation is not None:
        until_ms = decision.valid_until_ms
        if isinstance(until_ms, NoInstant) or until_ms > RFC3339_MAX_MS:
            body["valid_until"] = None
        else:
            body["valid_until"] = rfc3339(until_ms)
        body["explanation"] = decision.explanation
    return body
