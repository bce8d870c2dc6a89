"""From a person to the decision of a flag. Pure, and never an exception: `serving/api/decisions.py` fetches and guards.

    enabled, in its schedule  →  prerequisites  →  named users  →  rule  →  rollout  →  variant
             DISABLED              DEFAULT       TARGETING_MATCH  DEFAULT   SPLIT       SPLIT

The first step that says no, or for a named user that says all, ends it; the reason is below it. A rule that says yes
to everybody alike is STATIC, one that is not computed in full yet is STALE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from expressions.definitions import Key
from expressions.live.changes import Work, next_change_ms
from expressions.live.explain import explained
from expressions.rules.bucketing import BUCKETS, bucket_of
from expressions.rules.values import Value, canonical_json, to_json
from expressions.text.format import format_expression
from serving.definitions.flags import BUCKETS_A_PERCENT, Flag
from serving.people.person import Person

_encode = msgspec.json.Encoder().encode

#: Of OpenFeature's closed list what a server says; CACHED is a client's word.
Reason: TypeAlias = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED", "STALE", "ERROR"]


class Decision(msgspec.Struct, frozen=True):
    """What a flag says for a person, and why.

    `reasons` are the steps as text, `final_result` last. `value` is the variant's, or `allow` where there is none.
    `lacking` are ids that only a rebuild of their own makes whole. Where it was asked why: `explanation`, and
    `valid_until_ms`, UTC, before which no answer changes by time alone; None where that is not in sight.
    `fresh_until_ms`: when the flag's schedule changes, None where it does not.
    """

    allow: bool
    reason: Reason
    reasons: list[str]
    variant: str | None = None
    value: Any = None
    lacking: tuple[str, ...] = ()
    explanation: dict[str, Any] | None = None
    valid_until_ms: int | None = None
    fresh_until_ms: int | None = None


@dataclass(slots=True)
class _Said:
    """What the steps have said so far."""

    reasons: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    tree: dict[str, Any] | None = None
    changes: list[int | None] = field(default_factory=list)
    lacking: tuple[str, ...] = ()


class Decider:
    """All flags for one person at one instant. Each is decided once, also where others ask for it first.

    `device` is the namespaced anonymous id that was asked with, if one was.
    """

    def __init__(self, who: Person, device: str | None = None, with_tree: bool = False) -> None:
        self.who = who
        self.device = device
        self.with_tree = with_tree
        self._made: dict[str, Decision] = {}
        self._work = Work()

    def decision(self, key: str) -> Decision:
        """What a flag of the person's catalogue says. Raises `KeyError` for one that is not there."""
        found = self._made.get(key)
        if found is None:
            found = self._made[key] = self._decided(self.who.catalogue.flags[key])
        return found

    def _decided(self, flag: Flag) -> Decision:
        now_ms, said = self.who.now_ms, _Said()
        boundary = None
        if not flag.enabled:
            self._step(said, "enabled", False)
            return self._refused(flag, "DISABLED", said, boundary)
        if flag.is_timed:
            boundary = flag.next_boundary_ms(now_ms)
            said.changes.append(boundary)
            if not flag.is_scheduled(now_ms):
                said.reasons.append("scheduled = false")
                self._step(said, "schedule", False)
                return self._refused(flag, "DISABLED", said, boundary)
        if flag.prerequisites:
            lacks = self._prerequisites(flag, said)
            if lacks is not None:
                return self._refused(flag, lacks, said, boundary)
        if flag.users:
            named = self._named(flag, said)
            if named is False:
                return self._refused(flag, "TARGETING_MATCH", said, boundary)
            if named is not None:
                return self._allowed(flag, "TARGETING_MATCH", said, boundary, None if named is True else named)
        holds, reason = self._rule(flag, said)
        if not holds:
            return self._refused(flag, reason, said, boundary)
        if flag.rollout < BUCKETS:
            reason = "SPLIT"
            if not self._rolled_out(flag, said):
                return self._refused(flag, "STALE" if self._is_warming_by(flag) else reason, said, boundary)
        return self._allowed(flag, reason, said, boundary)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _prerequisites(self, flag: Flag, said: _Said) -> Reason | None:
        """Why it does not go on, if it does not: a flag says no, or cannot say yet."""
        for one in flag.prerequisites:
            found = self.decision(one.flag)
            passed = found.allow and one.variant in (None, found.variant)
            said.reasons.append(f"prerequisite({one.flag}) = {_json(passed)}")
            said.changes.append(found.valid_until_ms)
            said.lacking += found.lacking
            answered = {"allow": found.allow, "variant": found.variant, "reason": found.reason}
            self._step(said, "prerequisite", passed, flag=one.flag, wanted=one.variant, decision=answered)
            if found.reason == "STALE":
                return "STALE"
            if not passed:
                return "DEFAULT"
        return None

    def _named(self, flag: Flag, said: _Said) -> bool | str | None:
        """What is said of this person by name, under any of their ids."""
        for record in self.who.reading.records:
            found = flag.users.get(record.id)
            if found is not None:
                said.reasons.append(f"user({record.id}) = {_json(found)}")
                self._step(said, "users", found is not False, id=record.id, says=found)
                return found
        return None

    def _rule(self, flag: Flag, said: _Said) -> tuple[bool, Reason]:
        """Whether the rule says yes, and why; while anything it rests on is warming it does not."""
        own: Key = ("flag", flag.key)
        catalogue = self.who.catalogue
        named = catalogue.references[own]
        answers = self.who.answers([*dict.fromkeys(named), own])
        said.lacking += answers.lacking
        for kind, key in named:
            said.reasons.append(f"{kind}({key}) = {_json(to_json(answers.values[kind, key].value))}")
        holds = bool(answers.values[own].value)
        if self.with_tree:
            said.tree = explained(catalogue.bounds, own, self.who.frame)
            said.changes.append(next_change_ms(catalogue.bounds[own].expr, self.who.frame, self._work))
        self._step(said, "rule", holds)
        if answers.warming:  # a value so far is not the value
            return False, "STALE"
        if flag.key in catalogue.static_flags:
            return holds, "STATIC"
        return holds, "TARGETING_MATCH" if holds else "DEFAULT"

    def _rolled_out(self, flag: Flag, said: _Said) -> bool:
        bucket = self._bucket(flag, "membership", said)
        passed = bucket is not None and bucket < flag.rollout
        percent = to_json(flag.rollout / BUCKETS_A_PERCENT)
        said.reasons.append(f"rollout({percent}) = {_json(passed)}")
        self._step(said, "rollout", passed, bucket=bucket, below=flag.rollout)
        return passed

    def _allowed(
        self, flag: Flag, reason: Reason, said: _Said, boundary: int | None, name: str | None = None
    ) -> Decision:
        if flag.values and name is None:
            name = flag.only_variant
            if name is None:
                bucket = self._bucket(flag, "variant", said)
                name = None if bucket is None else flag.split.name_of(bucket)
                reason = "SPLIT"
                self._step(said, "variant", name is not None, bucket=bucket, variant=name)
                if name is None:
                    return self._refused(flag, "STALE" if self._is_warming_by(flag) else reason, said, boundary)
        if name is not None:
            said.reasons.append(f"variant = {_json(name)}")
        return self._made_of(flag, True, reason, name, said, boundary)

    def _refused(self, flag: Flag, reason: Reason, said: _Said, boundary: int | None) -> Decision:
        """The default. A rule that says no is no failure, so only what could not be asked allows by default."""
        allow = flag.default is True and reason in ("DISABLED", "STALE")
        name = flag.default if isinstance(flag.default, str) else None
        return self._made_of(flag, allow, reason, name, said, boundary)

    def _made_of(
        self, flag: Flag, allow: bool, reason: Reason, name: str | None, said: _Said, boundary: int | None
    ) -> Decision:
        return Decision(
            allow,
            reason,
            [*said.reasons, f"final_result = {_json(allow)}"],
            variant=name,
            value=allow if name is None else flag.values[name],
            lacking=said.lacking,
            explanation=self._explanation(flag, said) if self.with_tree else None,
            valid_until_ms=_earliest(said.changes) if self.with_tree else None,
            fresh_until_ms=boundary,
        )

    # ── buckets ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _bucket(self, flag: Flag, what: str, said: _Said) -> int | None:
        """The bucket for membership or for the variant; None for nobody, and for a trait that is null."""
        id = self._bucketed(flag, said)
        return None if id is None else bucket_of(f"{flag.salt}:{what}", id)

    def _bucketed(self, flag: Flag, said: _Said) -> str | None:
        if flag.bucketing_trait is not None:
            key: Key = ("trait", flag.bucketing_trait)
            answers = self.who.answers([key])
            value: Value = answers.values[key].value
            said.lacking += answers.lacking
            if self.with_tree:
                said.changes.append(next_change_ms(self.who.catalogue.bounds[key].expr, self.who.frame, self._work))
            return None if value is None or answers.warming else f"trait:{canonical_json(to_json(value))}"
        if flag.bucket_by == "deviceId" and self.device is not None:
            return self.device
        return self.who.id or None

    def _is_warming_by(self, flag: Flag) -> bool:
        return flag.bucketing_trait is not None and bool(self.who.answers([("trait", flag.bucketing_trait)]).warming)

    # ── explaining ───────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, said: _Said, step: str, passed: bool, **more: Any) -> None:
        if self.with_tree:
            said.steps.append({"step": step, "passed": passed, **more})

    def _explanation(self, flag: Flag, said: _Said) -> dict[str, Any]:
        text = format_expression(self.who.catalogue.bounds["flag", flag.key].written)
        tree = said.tree or {"kind": "flag", "key": flag.key, "text": text}
        return {**tree, "steps": said.steps}


def error_decision(message: str, flag: Flag | None = None) -> Decision:
    """The decision when something it rests on is broken: the flag's default, or no where not even that is known."""
    default = flag.default if flag is not None else False
    allow = default is True
    value = flag.values[default] if flag is not None and isinstance(default, str) else allow
    name = default if isinstance(default, str) else None
    return Decision(allow, "ERROR", [f"evaluation_error: {message}"], variant=name, value=value)


def _json(value: Any) -> str:
    return _encode(value).decode()


def _earliest(instants: Sequence[int | None]) -> int | None:
    return min((at for at in instants if at is not None), default=None)
