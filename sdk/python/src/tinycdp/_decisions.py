"""What a client knows of decisions: the answers that it may give again, and whether it is worth asking. No I/O.

An answer is given again for its `max-age` alone, then asked for again by its ETag. In an outage the last answer stands
for `LAST_ANSWER_S`, with reason CACHED; then the caller's default does. Whatever this client sends of a user, and the
acknowledgement of it, drops that user's answers: the next decision sees the event.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeAlias, TypeVar

T = TypeVar("T")

#: What keeps a decision from being made, or from being given, in OpenFeature's words.
ErrorCode: TypeAlias = Literal["FLAG_NOT_FOUND", "TYPE_MISMATCH", "GENERAL"]

#: How long the last answer stands while the server is away.
LAST_ANSWER_S = 300.0
#: Answers that are kept; the longest unused go.
ANSWERS_MAX = 10_000

_MAX_AGE = re.compile(r"\bmax-age=(\d{1,9})\b")


@dataclass(frozen=True)
class Decision(Generic[T]):
    """What a flag says for a user.

    `value` is the caller's default if `reason` is ERROR and the server did not answer, or the flag's value has another
    type than the default. `error` says then why, and `error_code` has OpenFeature's word for it. `after_met` is false
    if the events that the decision was to see were not acknowledged in time.
    """

    flag: str
    value: T
    allow: bool
    variant: str | None
    reason: str
    reasons: tuple[str, ...] = ()
    error: str | None = None
    error_code: ErrorCode | None = None
    after_met: bool = True
    explanation: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        return self.allow


def decision_of(body: Mapping[str, Any]) -> Decision[Any]:
    """A decision as the API words it. Raises KeyError or TypeError for what is none."""
    reasons = tuple(map(str, body.get("reasons", ())))
    failed = reasons[-1] if body["reason"] == "ERROR" and reasons else None
    return Decision(
        str(body["flag"]),
        body["value"],
        bool(body["allow"]),
        body.get("variant"),
        str(body["reason"]),
        reasons,
        failed,
        "GENERAL" if failed is not None else None,
        explanation=body.get("explanation"),
    )


def fallback(flag: str, default: T, error: str, *, code: ErrorCode = "GENERAL", after_met: bool = True) -> Decision[T]:
    """The caller's default, with reason ERROR."""
    try:
        allow = bool(default)
    except Exception:  # an array of numpy is neither true nor false
        allow = False
    return Decision(flag, default, allow, None, "ERROR", (), error, code, after_met)


def _kind(value: object) -> str | None:
    """The type of a flag's value in OpenFeature's words, where a list is an object; None for what no flag has."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "number"
    return "object" if isinstance(value, (Mapping, list, tuple)) else None


def fitted(decision: Decision[Any], default: T) -> Decision[T]:
    """The decision as a caller is given it who named this default: its value where the flag's has another type.

    With reason ERROR and TYPE_MISMATCH then; `allow` and `variant` stay the flag's. Without a default (None), and with
    one that no flag can have, every value suits. `tests/conformance/clients/types.json` holds the cases.
    """
    found, wanted = _kind(decision.value), _kind(default)
    if wanted in (None, "null", found):
        return decision
    error = decision.error or f"the value is {found}, not {wanted}"
    code = decision.error_code or "TYPE_MISMATCH"
    return replace(decision, value=default, reason="ERROR", error=error, error_code=code)


def max_age_s(cache_control: str | None) -> float:
    """For how long an answer with this header may be given again without asking."""
    found = _MAX_AGE.search(cache_control or "")
    return float(found[1]) if found and "no-store" not in (cache_control or "") else 0.0


@dataclass(frozen=True)
class Answer:
    """A decision, or all of a user's, as it was answered at `at_s`, to be given again until `fresh_until_s`."""

    decisions: tuple[Decision[Any], ...]
    etag: str | None
    at_s: float
    fresh_until_s: float


@dataclass
class Answers:
    """The answers that are kept, by what was asked: the ids and the flag (None: all flags)."""

    answers_max: int = ANSWERS_MAX
    _kept: OrderedDict[tuple[tuple[str, ...], str | None], Answer] = field(default_factory=OrderedDict)
    _of_id: dict[str, set[tuple[tuple[str, ...], str | None]]] = field(default_factory=dict)
    _turn: int = 0  # counts drops: an answer that was asked for before a drop of its ids is not kept after it
    _dropped: OrderedDict[str, int] = field(default_factory=OrderedDict)  # the last drop of the ids dropped last
    _dropped_before: int = 0  # the last drop of any other id is no later

    def turn(self) -> int:
        """To be given to `keep` with the answer to what is asked now."""
        return self._turn

    def get(self, ids: tuple[str, ...], flag: str | None) -> Answer | None:
        """The last answer, fresh or not."""
        answer = self._kept.get((ids, flag))
        if answer is not None:
            self._kept.move_to_end((ids, flag))
        return answer

    def keep(self, ids: tuple[str, ...], flag: str | None, answer: Answer, turn: int) -> None:
        """Keeps an answer, unless an id of it was dropped since `turn`: it may be of before that."""
        if any(self._dropped.get(one, self._dropped_before) > turn for one in ids):
            return
        self._kept[ids, flag] = answer
        self._kept.move_to_end((ids, flag))
        for one in ids:
            self._of_id.setdefault(one, set()).add((ids, flag))
        while len(self._kept) > self.answers_max:
            self._forget(next(iter(self._kept)))

    def drop(self, ids: Iterable[str]) -> None:
        """Drops every answer to a question that named one of these ids."""
        for one in ids:
            asked = self._of_id.get(one)
            if asked:
                for question in list(asked):
                    self._forget(question)
            self._turn += 1
            self._dropped[one] = self._turn
            self._dropped.move_to_end(one)
            if len(self._dropped) > self.answers_max:
                _, self._dropped_before = self._dropped.popitem(last=False)

    def _forget(self, question: tuple[tuple[str, ...], str | None]) -> None:
        self._kept.pop(question, None)
        for one in question[0]:
            of_one = self._of_id.get(one)
            if of_one is not None:
                of_one.discard(question)
                if not of_one:
                    del self._of_id[one]


def in_outage(answer: Answer | None, now_s: float) -> tuple[Decision[Any], ...] | None:
    """The last answer, marked CACHED, while it stands."""
    if answer is None or now_s - answer.at_s > LAST_ANSWER_S:
        return None
    return tuple(replace(decision, reason="CACHED") for decision in answer.decisions)


class Breaker:
    """Whether a server that did not answer is asked again: after some failures in a row only once in a while.

    The pause doubles from the first to the greatest, in seconds. One question is let through at its end.
    """

    FAILURES_MAX = 3
    PAUSE_FIRST_S, PAUSE_MAX_S = 1.0, 30.0

    def __init__(self) -> None:
        self._failures = 0
        self._closed_from_s = 0.0

    def lets_through(self, now_s: float) -> bool:
        """Whether to ask now."""
        if now_s < self._closed_from_s:
            return False
        if self._failures >= self.FAILURES_MAX:  # this one tries; others wait for what becomes of it
            self._closed_from_s = now_s + self._pause_s()
        return True

    @property
    def is_open(self) -> bool:
        """Whether the server has failed so often that it counts as away."""
        return self._failures >= self.FAILURES_MAX

    def answered(self) -> None:
        """The server is there."""
        self._failures, self._closed_from_s = 0, 0.0

    def failed(self, now_s: float) -> bool:
        """The server did not answer; true if the breaker opened just now, which is worth one warning."""
        self._failures += 1
        if self._failures < self.FAILURES_MAX:
            return False
        self._closed_from_s = now_s + self._pause_s()
        return self._failures == self.FAILURES_MAX

    def _pause_s(self) -> float:
        doublings = min(self._failures - self.FAILURES_MAX, 10)
        return float(min(self.PAUSE_FIRST_S * 2**doublings, self.PAUSE_MAX_S))
