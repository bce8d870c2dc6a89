"""Periods that a query names: `from` and `to`, as instants."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Query

from expressions.rules.values import instant_ms
from serving.refusals import invalid
from serving.times import RFC3339_MAX_MS, rfc3339

INSTANT_CHARACTERS_MAX = 40

_REMEDY = f"send an instant or a date in ISO 8601, such as {rfc3339(1_767_225_600_000)}, up to the year 9999"

From: TypeAlias = Annotated[
    str | None, Query(alias="from", max_length=INSTANT_CHARACTERS_MAX, description="the first instant, in ISO 8601")
]
To: TypeAlias = Annotated[
    str | None, Query(alias="to", max_length=INSTANT_CHARACTERS_MAX, description="the instant after the last one")
]


def instant_of(name: str, text: str | None) -> int | None:
    """The UTC ms of a parameter of this name; None where it is not sent. Raises `Invalid`."""
    if text is None:
        return None
    ms = instant_ms(text)
    if ms is None or not -RFC3339_MAX_MS <= ms <= RFC3339_MAX_MS:
        raise invalid(name, text, _REMEDY)
    return ms


def period_of(since: str | None, until: str | None, span_ms: int, now_ms: int) -> tuple[int, int]:
    """The period [from, to) in UTC ms: up to now, and as long as `span_ms`, where they are not sent.

    Raises `Invalid` where it does not end after its beginning.
    """
    until_ms = instant_of("to", until)
    end_ms = now_ms if until_ms is None else until_ms
    since_ms = instant_of("from", since)
    begin_ms = end_ms - span_ms if since_ms is None else since_ms
    _require_forward(begin_ms, end_ms, since)
    return begin_ms, end_ms


def open_period_of(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    """The period [from, to) in UTC ms; None for an end that is not sent: it is open there.

    Raises `Invalid` where it does not end after its beginning.
    """
    begin_ms, end_ms = instant_of("from", since), instant_of("to", until)
    if begin_ms is not None and end_ms is not None:
        _require_forward(begin_ms, end_ms, since)
    return begin_ms, end_ms


def _require_forward(begin_ms: int, end_ms: int, since: str | None) -> None:
    if begin_ms >= end_ms:
        raise invalid("from", since, "send an instant before `to`")
