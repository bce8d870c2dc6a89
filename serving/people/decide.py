"""From a person to the decision of a flag. Pure; `serving.people.decided` guards against errors.

    enabled, in its schedule  →  prerequisites  →  named users  →  rule  →  rollout  →  variant
             DISABLED              DEFAULT       TARGETING_MATCH  DEFAULT   SPLIT       SPLIT

The first step that says no ends it, with the reason below it; a named user's own answer ends it either way. The reason
is STATIC where the rule says the same of everybody, and STALE where the rule is not computed in full yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from expressions.definitions import Key
from expressions.live.changes import NextChange, NoInstant, Work, earliest
from expressions.live.explain import ITEMS_MAX, WORK_MAX, explained, text_alone
from expressions.live.to_state import Answer
from expressions.rules.bucketing import BUCKETS, bucket_of
from expressions.rules.values import Value, canonical_json, to_json
from expressions.rules.windows import END_MS
from serving.definitions.flags import BUCKETS_A_PERCENT, Flag
from serving.people.person import Person

_encode = msgspec.json.Encoder().encode

#: The work that may be spent on how long an answer may be kept: a decision waits for it, so a few milliseconds.
CACHING_WORK_MAX = 5_000
#: Of the work for all explanations of one answer the part that one flag gets, where many are explained.
_EXPLANATIONS = 10
#: Characters of a value in `reasons`.
REASON_CHARACTERS_MAX = 1_000

#: The reasons of OpenFeature's closed list that a server gives; CACHED is for clients.
Reason: TypeAlias = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "DISABLED", "STALE", "ERROR"]


class Decision(msgspec.Struct, frozen=True):
    """What a flag says for a person, and why.

    `reasons` are the steps as text, `final_result` last. `value` is the variant's, or `allow` where there is none.
    `lacking` are the ids that only a rebuild of their own makes whole. Times are UTC ms. Time alone does not change the
    answer before `fresh_until_ms`, which is looked for within `cache_seconds` of the flag.

    Only where a tree was wanted: `explanation`, which is JSON already where another process made it, and
    `valid_until_ms`, before which time alone does not change it.
    """

    allow: bool
    reason: Reason
    reasons: list[str]
    variant: str | None = None
    value: Any = None
    lacking: tuple[str, ...] = ()
    explanation: dict[str, Any] | msgspec.Raw | None = None
    valid_until_ms: NextChange = NoInstant.UNKNOWN
    fresh_until_ms: NextChange = NoInstant.UNKNOWN


@dataclass(slots=True)
class _Trail:
    """The traces that the steps of one flag have left so far."""

    reasons: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    tree: dict[str, Any] | None = None
    changes: list[NextChange] = field(default_factory=list)
    lacking: tuple[str, ...] = ()


class Decider:
    """Decides flags for one person at one instant. Each is decided once, also where other flags need it first.

    `device` is the namespaced anonymous id of the request, if it named one. `with_tree`: decisions are explained, of
    which there will be `explanations`; they share what work there is for them.
    """

    def __init__(
        self, person: Person, device: str | None = None, with_tree: bool = False, explanations: int = 1
    ) -> None:
        self.person = person
        self.device = device
        self.with_tree = with_tree
        self._made: dict[str, Decision] = {}
        self._said: dict[Key, str] = {}
        self._work = Work() if with_tree else Work(CACHING_WORK_MAX)
        self._explaining = Work(WORK_MAX)
        self._explained_at_once = WORK_MAX // min(explanations, _EXPLANATIONS)

    def decision(self, key: str) -> Decision:
        """The decision of a flag. Raises `KeyError` for a flag that is not in the person's catalogue."""
        decision = self._made.get(key)
        if decision is None:
            decision = self._made[key] = self._decided(self.person.catalogue.flags[key])
        return decision

    def _decided(self, flag: Flag) -> Decision:
        now_ms, trail = self.person.now_ms, _Trail()
        if not flag.enabled:
            self._step(trail, "enabled", False)
            return self._refused(flag, "DISABLED", trail)
        if flag.is_timed:
            trail.changes.append(_next_boundary_ms(flag, now_ms))
            if not flag.is_scheduled(now_ms):
                trail.reasons.append("scheduled = false")
                self._step(trail, "schedule", False)
                return self._refused(flag, "DISABLED", trail)
        if flag.prerequisites:
            failed = self._failed_prerequisite(flag, trail)
            if failed is not None:
                return self._refused(flag, failed, trail)
        if flag.users:
            own = self._own_answer(flag, trail)
            if own is False:
                return self._refused(flag, "TARGETING_MATCH", trail)
            if own is not None:
                return self._allowed(flag, "TARGETING_MATCH", trail, None if own is True else own)
        holds, reason = self._rule(flag, trail)
        if not holds:
            return self._refused(flag, reason, trail)
        if flag.rollout < BUCKETS:
            reason = "SPLIT"
            if not self._rolled_out(flag, trail):
                return self._refused(flag, "STALE" if self._is_warming_by(flag) else reason, trail)
        return self._allowed(flag, reason, trail)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _failed_prerequisite(self, flag: Flag, trail: _Trail) -> Reason | None:
        """The reason to end here: DEFAULT where a prerequisite says no, STALE where one cannot say yet; else None."""
        for prerequisite in flag.prerequisites:
            decision = self.decision(prerequisite.flag)
            passed = decision.allow and prerequisite.variant in (None, decision.variant)
            trail.reasons.append(f"prerequisite({prerequisite.flag}) = {_json(passed)}")
            trail.changes.append(decision.valid_until_ms)
            trail.lacking += decision.lacking
            summary = {"allow": decision.allow, "variant": decision.variant, "reason": decision.reason}
            self._step(
                trail, "prerequisite", passed, flag=prerequisite.flag, wanted=prerequisite.variant, decision=summary
            )
            if decision.reason == "STALE":
                return "STALE"
            if not passed:
                return "DEFAULT"
        return None

    def _own_answer(self, flag: Flag, trail: _Trail) -> bool | str | None:
        """The answer that the flag has for this person by name, under any of their ids; None where it has none."""
        for record in self.person.reading.records:
            answer = flag.users.get(record.id)
            if answer is not None:
                trail.reasons.append(f"user({record.id}) = {_json(answer)}")
                self._step(trail, "users", answer is not False, id=record.id, says=answer)
                return answer
        return None

    def _rule(self, flag: Flag, trail: _Trail) -> tuple[bool, Reason]:
        """Whether the rule says yes, and the reason. While anything that it rests on is warming it says no."""
        own: Key = ("flag", flag.key)
        catalogue = self.person.catalogue
        named = catalogue.references[own]
        answers = self.person.answers([*dict.fromkeys(named), own])
        trail.lacking += answers.lacking
        for kind, key in named:
            said = self._said.get((kind, key))
            if said is None:
                said = self._said[kind, key] = f"{kind}({key}) = {_reason_value(answers.values[kind, key].value)}"
            trail.reasons.append(said)
        holds = bool(answers.values[own].value)
        if self.with_tree:
            trail.tree = self._tree(own, answers.values[own])
            trail.changes.append(self._next_change_ms(own))
        self._step(trail, "rule", holds)
        if answers.warming:  # the value so far may not be the value
            return False, "STALE"
        if flag.key in catalogue.static_flags:
            return holds, "STATIC"
        return holds, "TARGETING_MATCH" if holds else "DEFAULT"

    def _rolled_out(self, flag: Flag, trail: _Trail) -> bool:
        bucket = self._bucket(flag, "membership", trail)
        passed = bucket is not None and bucket < flag.rollout
        percent = to_json(flag.rollout / BUCKETS_A_PERCENT)
        trail.reasons.append(f"rollout({percent}) = {_json(passed)}")
        self._step(trail, "rollout", passed, bucket=bucket, below=flag.rollout)
        return passed

    def _allowed(self, flag: Flag, reason: Reason, trail: _Trail, name: str | None = None) -> Decision:
        if flag.values and name is None:
            name = flag.only_variant
            if name is None:
                bucket = self._bucket(flag, "variant", trail)
                name = None if bucket is None else flag.split.name_of(bucket)
                reason = "SPLIT"
                self._step(trail, "variant", name is not None, bucket=bucket, variant=name)
                if name is None:
                    return self._refused(flag, "STALE" if self._is_warming_by(flag) else reason, trail)
        if name is not None:
            trail.reasons.append(f"variant = {_json(name)}")
        return self._made_of(flag, True, reason, name, trail)

    def _refused(self, flag: Flag, reason: Reason, trail: _Trail) -> Decision:
        """The decision of a flag that does not allow: its default.

        A default of true allows only a flag that is off or stale. A rule that says no is no failure.
        """
        allow = flag.default is True and reason in ("DISABLED", "STALE")
        name = flag.default if isinstance(flag.default, str) else None
        return self._made_of(flag, allow, reason, name, trail)

    def _made_of(self, flag: Flag, allow: bool, reason: Reason, name: str | None, trail: _Trail) -> Decision:
        return Decision(
            allow,
            reason,
            [*trail.reasons, f"final_result = {_json(allow)}"],
            variant=name,
            value=allow if name is None else flag.values[name],
            lacking=trail.lacking,
            explanation=self._explanation(flag, trail) if self.with_tree else None,
            valid_until_ms=earliest(trail.changes) if self.with_tree else NoInstant.UNKNOWN,
            fresh_until_ms=self._fresh_until_ms(flag) if flag.cache_s else NoInstant.UNKNOWN,
        )

    # ── buckets ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _bucket(self, flag: Flag, what: str, trail: _Trail) -> int | None:
        """The bucket for membership or for the variant; None for nobody, and for a trait that is null."""
        subject = self._bucketed(flag, trail)
        return None if subject is None else bucket_of(f"{flag.salt}:{what}", subject)

    def _bucketed(self, flag: Flag, trail: _Trail) -> str | None:
        """The text that is bucketed: a namespaced id, or the value of a trait."""
        if flag.bucketing_trait is not None:
            key: Key = ("trait", flag.bucketing_trait)
            answers = self.person.answers([key])
            value: Value = answers.values[key].value
            trail.lacking += answers.lacking
            if self.with_tree:
                trail.changes.append(self._next_change_ms(key))
            return None if value is None or answers.warming else f"trait:{canonical_json(to_json(value))}"
        if flag.bucket_by == "deviceId" and self.device is not None:
            return self.device
        return self.person.id or None

    def _is_warming_by(self, flag: Flag) -> bool:
        return flag.bucketing_trait is not None and bool(self.person.answers([("trait", flag.bucketing_trait)]).warming)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _next_change_ms(self, key: Key, upto_ms: int = END_MS) -> NextChange:
        """When time alone changes what a definition answers; NEVER: not up to `upto_ms`."""
        return self.person.catalogue.watched(key).next_change_ms(self.person.frame, self._work, upto_ms)

    def _fresh_until_ms(self, flag: Flag) -> NextChange:
        """When time alone may change a decision, within `cache_seconds`: by its own parts, or by flags that it needs.

        All of these count, also those that did not take part this time: that is soon enough, and simple.
        """
        now_ms = self.person.now_ms
        upto_ms = now_ms + flag.cache_s * 1_000
        changes: list[NextChange] = []
        for other in self.person.catalogue.with_prerequisites(flag.key):
            changes += [_next_boundary_ms(other, now_ms), self._next_change_ms(("flag", other.key), upto_ms)]
            if other.bucketing_trait is not None:
                changes.append(self._next_change_ms(("trait", other.bucketing_trait), upto_ms))
        return earliest(changes)

    # ── explaining ───────────────────────────────────────────────────────────────────────────────────────────────

    def _step(self, trail: _Trail, step: str, passed: bool, **more: Any) -> None:
        if self.with_tree:
            trail.steps.append({"step": step, "passed": passed, **more})

    def _tree(self, key: Key, answer: Answer) -> dict[str, Any]:
        """The tree of a definition, for its part of the work that is left for all of them."""
        work = Work(min(self._explaining.left, self._explained_at_once))
        given = work.left
        tree = explained(self.person.catalogue.bounds, key, self.person.frame, work, answer)
        self._explaining.left = max(0, self._explaining.left - (given - work.left))
        return tree

    def _explanation(self, flag: Flag, trail: _Trail) -> dict[str, Any]:
        tree = trail.tree or text_alone(self.person.catalogue.bounds, ("flag", flag.key), self._explaining)
        return {**tree, "steps": trail.steps}


def next_move_ms(person: Person) -> int | None:
    """The first instant, UTC ms, at which any flag may decide otherwise for a person by time alone; None: never.

    That is soon found for all flags together, and often too early: what moves need change nothing. It does not hold
    where a decision is `lacking` something.
    """
    catalogue = person.catalogue
    moves = [flag.next_boundary_ms(person.now_ms) for flag in catalogue.flags.values() if flag.is_timed]
    moves += (catalogue.flag_moves.next_ms(person.frame), person.until_ms)
    return min((at for at in moves if at is not None and at > person.now_ms), default=None)


def error_decision(message: str, flag: Flag | None = None) -> Decision:
    """The decision when a part that it rests on is broken: the flag's default, or no where the flag is not known."""
    default = flag.default if flag is not None else False
    allow = default is True
    value = flag.values[default] if flag is not None and isinstance(default, str) else allow
    name = default if isinstance(default, str) else None
    return Decision(allow, "ERROR", [f"evaluation_error: {message}"], variant=name, value=value)


def _reason_value(value: Value) -> str:
    """A value in `reasons`, as JSON; of a long list the first items, and of a long text its beginning."""
    more = ""
    if isinstance(value, tuple) and len(value) > ITEMS_MAX:
        value, more = value[:ITEMS_MAX], f" and {len(value) - ITEMS_MAX} more"
    text = _json(to_json(value))
    if len(text) > REASON_CHARACTERS_MAX:
        text = f"{text[: REASON_CHARACTERS_MAX - 1]}…"
    return text + more


def _json(value: Any) -> str:
    return _encode(value).decode()


def _next_boundary_ms(flag: Flag, now_ms: int) -> NextChange:
    boundary_ms = flag.next_boundary_ms(now_ms)
    return NoInstant.NEVER if boundary_ms is None else boundary_ms
