"""How a decision is come by: a fresh answer, a request, the last answer, or none. All that ask follow it.

begin → Outcome (a fresh answer, or the breaker is open)
      → Request to be sent → answered / unanswered → Outcome
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from threading import RLock
from typing import Any

import httpx2

from ._decisions import Answer, Answers, Breaker, Decision, ErrorCode, in_outage
from ._http import FAILED, Ask, Reply, exchange, exchange_async, headers_of, reason_of
from ._questions import Question, is_no_flag, read_answer

log = logging.getLogger("tinycdp")


@dataclass(frozen=True)
class Outcome:
    """The decisions; None, and why, where there are none."""

    decisions: tuple[Decision[Any], ...] | None
    error: str = ""
    code: ErrorCode = "GENERAL"


@dataclass(frozen=True)
class Request:
    """A question that must be asked: the answer that is kept of it, if any, and the turn it is asked in."""

    question: Question
    kept: Answer | None
    turn: int

    def ask(self, key: str | None) -> Ask:
        """The request: the server compares with the tag, and may say that nothing changed."""
        etag = self.kept.etag if self.kept else None
        question = self.question
        return Ask(question.method, question.path, headers_of(key, if_none_match=etag), question.body)


class Asking:
    """The answers and the breaker of one client. Safe for threads."""

    def __init__(self) -> None:
        self._answers, self._breaker = Answers(), Breaker()
        self._lock = RLock()

    def begin(self, question: Question, now_s: float) -> Outcome | Request:
        """What is known already, or the request to send."""
        with self._lock:
            kept = None if question.is_explained else self._answers.get(question.ids, question.flag)
            if kept is not None and now_s < kept.fresh_until_s:
                return Outcome(kept.decisions)
            if not self._breaker.lets_through(now_s):
                return Outcome(in_outage(kept, now_s), "the server did not answer lately")
            return Request(question, kept, self._answers.turn())

    def answered(self, request: Request, reply: Reply, now_s: float) -> Outcome:
        """What an answer says."""
        answer, error, is_away = read_answer(request.question, reply, request.kept, now_s)
        if is_away:
            return self.unanswered(request, error, now_s)
        with self._lock:
            self._breaker.answered()
            if answer is None:
                return Outcome(None, error, "FLAG_NOT_FOUND" if is_no_flag(reply) else "GENERAL")
            if not request.question.is_explained:
                self._answers.keep(request.question.ids, request.question.flag, answer, request.turn)
            return Outcome(answer.decisions)

    def unanswered(self, request: Request, error: str, now_s: float) -> Outcome:
        """What is said while the server is away. One warning for each outage."""
        with self._lock:
            is_new = self._breaker.failed(now_s)
        if is_new:
            log.warning("the server does not answer decisions; last answers and defaults until it does: %s", error)
        return Outcome(in_outage(request.kept, now_s), error)

    @property
    def is_away(self) -> bool:
        """Whether the server counts as away."""
        return self._breaker.is_open

    def drop(self, ids: Iterable[str]) -> None:
        """Drops what is kept of these ids."""
        with self._lock:
            self._answers.drop(ids)


def ask(asking: Asking, http: httpx2.Client, key: str | None, question: Question, deadline_s: float) -> Outcome:
    """What is known, else what the server answers within the time."""
    request = asking.begin(question, time.monotonic())
    if isinstance(request, Outcome):
        return request
    try:
        reply = exchange(http, request.ask(key), _left_s(deadline_s))
    except FAILED as failure:
        return asking.unanswered(request, reason_of(failure), time.monotonic())
    return asking.answered(request, reply, time.monotonic())


async def ask_async(
    asking: Asking, http: httpx2.AsyncClient, key: str | None, question: Question, deadline_s: float
) -> Outcome:
    """`ask` for the event loop."""
    request = asking.begin(question, time.monotonic())
    if isinstance(request, Outcome):
        return request
    try:
        reply = await exchange_async(http, request.ask(key), _left_s(deadline_s))
    except FAILED as failure:
        return asking.unanswered(request, reason_of(failure), time.monotonic())
    return asking.answered(request, reply, time.monotonic())


def _left_s(deadline_s: float) -> float:
    return max(0.001, deadline_s - time.monotonic())
