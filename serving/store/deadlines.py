"""How long the work at hand may wait for Redis.

A deadline belongs to a piece of work, such as a request over HTTP. A connection has none: many pieces of work share it.
A deadline is kept in the context, so each question that the work asks the store has what is left of the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from functools import wraps
from math import inf
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

#: On the clock of `time.monotonic`.
_deadline_s: ContextVar[float] = ContextVar("deadline_s", default=inf)


def deadline_s() -> float:
    """When the work at hand waits no longer, on the clock of `time.monotonic`; infinite where it has no deadline."""
    return _deadline_s.get()


def seconds_left() -> float | None:
    """How long the work at hand may still wait, at least 0; None where it has no deadline."""
    until_s = _deadline_s.get()
    return None if until_s == inf else max(0.0, until_s - time.monotonic())


def within(seconds: float) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Gives each call of a coroutine function a deadline, unless it has an earlier one already."""

    def bounded(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @wraps(work)
        async def call(*args: P.args, **kwargs: P.kwargs) -> T:
            token = _deadline_s.set(min(_deadline_s.get(), time.monotonic() + seconds))
            try:
                return await work(*args, **kwargs)
            finally:
                _deadline_s.reset(token)

        return call

    return bounded
