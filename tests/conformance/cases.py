"""Reads the cases of this folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from expressions.definitions import DefinitionKind
from expressions.rules.values import instant_ms
from tests.history import Event

HERE = Path(__file__).parent
NOW = "2026-03-01T12:00:00Z"
UNITS = {"ms": 1, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@dataclass(frozen=True)
class Case:
    """One case, its times made absolute."""

    id: str
    says: str
    definitions: tuple[tuple[DefinitionKind, str, str], ...]
    key: tuple[DefinitionKind, str]
    written: Sequence[Mapping[str, Any]]
    now: int
    zone: str
    value: Any
    exact: bool
    error: Mapping[str, Any] | None

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The events in the order of arrival. Made when a test reads them: all cases together have 150,000."""
        return tuple(_event(copy, self.now) for event in self.written for copy in _copies(event))


def all_cases() -> list[Case]:
    """Every case of every file."""
    cases = []
    for path in sorted(HERE.glob("*.json")):
        body = json.loads(path.read_text())
        cases += [_case(path.stem, case, body["given"]) for case in body["cases"]]
    return cases


def _case(stem: str, case: Mapping[str, Any], given: Mapping[str, Any]) -> Case:
    now = _absolute(case.get("now", NOW), 0)
    others = [(*name.split(":", 1), _text(written)) for name, written in case.get("definitions", {}).items()]
    key = (case.get("kind", "trait"), case.get("key", "the_case"))
    return Case(
        id=f"{stem}-{case['id']}",
        says=case["says"],
        definitions=(*others, (*key, _text(case["expression"]))),  # type: ignore[arg-type]
        key=key,
        written=given[case["given"]] if "given" in case else case.get("events", []),
        now=now,
        zone=case.get("zone", "UTC"),
        value=case.get("value"),
        exact=case.get("exact", True),
        error=case.get("error"),
    )


def _text(written: str | Sequence[str | tuple[str, int]]) -> str:
    """The text of an expression: written as one, or as pieces.

    A piece is a text, or a text and how often it comes, with # for the number of its copy.
    """
    if isinstance(written, str):
        return written
    return "".join(piece if isinstance(piece, str) else _repeated(*piece) for piece in written)


def _repeated(text: str, times: int) -> str:
    return "".join(text.replace("#", str(number)) for number in range(times))


def _copies(event: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The event itself; with `times`, so many copies of it, which the property `numbered` counts from 0."""
    if "times" not in event:
        yield event
        return
    for number in range(event["times"]):
        yield {**event, "properties": {**event.get("properties", {}), event["numbered"]: number}}


def _event(event: Mapping[str, Any], now: int) -> Event:
    kind = next(kind for kind in ("identify", "event", "page", "screen") if kind in event)
    is_identify = kind == "identify"
    return Event(
        kind="track" if kind == "event" else kind,
        name=None if is_identify else event[kind],
        ts_ms=_absolute(event["at"], now),
        fields=event["identify"] if is_identify else event.get("properties", {}),
        id=event.get("id", ""),
        received_ms=_absolute(event["received"], now) if "received" in event else None,
        imported=event.get("imported", False),
    )


def _absolute(text: str, now: int) -> int:
    instant = instant_ms(text)
    if instant is not None:
        return instant
    parts = re.findall(r"([+-]?\d+)(ms|[mhd])?", text)
    assert "".join(number + unit for number, unit in parts) == text, f"{text} is no time"
    return now + sum(int(number) * UNITS[unit or "ms"] for number, unit in parts)
