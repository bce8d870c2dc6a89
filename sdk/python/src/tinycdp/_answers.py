"""What the answer to a batch means for its events. Pure: `tests/conformance/clients/answers.json` holds the cases.

An attempt is **ambiguous** unless it was answered 200 by the API, or refused before anything could count: 429 and 503
may have stored a part, and so may a request whose answer was lost. The server knows a repeat by its `messageId` for
24 hours, so an ambiguous attempt is repeated, but not for longer than that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Any

#: Back-off: the wait doubles from the first to the greatest, in seconds, and chance takes up to half of it away.
WAIT_FIRST_S, WAIT_MAX_S = 0.5, 60.0
#: A server that asks for more is asked again after this long all the same.
RETRY_AFTER_MAX_S = 300.0
#: After so many failures in a row a server that asks for less than the first wait is given that all the same.
SHORT_WAITS_MAX = 3
#: Characters that are kept of what an answer says, and warnings of one answer that are told.
SAID_MAX, WARNINGS_MAX = 300, 10


class Fate(Enum):
    """What becomes of the events of an attempt."""

    STORED = "stored"  #: the good ones count; `rejected` names the others
    SPLIT = "split"  #: the request was refused as a whole: halves may pass, a single event is refused
    HELD = "held"  #: key or address are wrong: nothing can pass until somebody mends that
    AGAIN = "again"  #: the same may pass later


@dataclass(frozen=True)
class Verdict:
    """The fate of an attempt's events, whether a part of them may count already, and why."""

    fate: Fate
    is_ambiguous: bool
    reason: str
    retry_after_s: float | None = None
    rejected: Mapping[int, tuple[str, str]] = field(default_factory=dict)  #: index → code, message
    warnings: tuple[str, ...] = ()


def verdict(status: int, retry_after: str | None, body: bytes) -> Verdict:
    """What an answer says of the batch that it answers. `retry_after` is the header's text."""
    if status == 200:
        said = object_in(body)
        if said.get("success") is not True:  # a proxy or a login page, not the API
            return Verdict(Fate.AGAIN, True, "answer is not TinyCDP's")
        return Verdict(Fate.STORED, False, "stored", rejected=_rejected(said), warnings=_warnings(said))
    reason = f"{status} {_cut(object_in(body).get('message', ''))}".strip()
    if status in (400, 413):
        return Verdict(Fate.SPLIT, False, reason)
    if 300 <= status < 400:
        return Verdict(Fate.HELD, False, f"{status}, a redirect; give the address that it leads to as url")
    if status in (401, 403, 404, 405):
        return Verdict(Fate.HELD, False, reason)
    return Verdict(Fate.AGAIN, True, reason, retry_after_s=_seconds(retry_after))


def unanswered(reason: str, *, was_sent: bool) -> Verdict:
    """The verdict where no answer came; `was_sent` is false if the connection itself was refused."""
    return Verdict(Fate.AGAIN, was_sent, reason)


def wait_s(attempt: int, retry_after_s: float | None, random: Random) -> float:
    """How long to wait after the attempt of this number, from 1."""
    if retry_after_s is not None:
        return min(max(retry_after_s, WAIT_FIRST_S if attempt > SHORT_WAITS_MAX else 0.0), RETRY_AFTER_MAX_S)
    full: float = min(WAIT_FIRST_S * 2 ** min(attempt - 1, 20), WAIT_MAX_S)
    return full * (1 - random.random() / 2)


def object_in(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _rejected(said: Mapping[str, Any]) -> dict[int, tuple[str, str]]:
    refusals = said.get("rejected")
    if not isinstance(refusals, list):
        return {}
    return {
        refusal["index"]: (_cut(refusal.get("code", "unknown")), _cut(refusal.get("message", "")))
        for refusal in refusals
        if isinstance(refusal, dict) and type(refusal.get("index")) is int  # True is no index
    }


def _warnings(said: Mapping[str, Any]) -> tuple[str, ...]:
    warnings = said.get("warnings")
    return tuple(map(_cut, warnings[:WARNINGS_MAX])) if isinstance(warnings, list) else ()


def _cut(said: Any) -> str:
    """A text of an answer: what is printable, and not too much of it."""
    text = "" if isinstance(said, (dict, list)) else str(said)
    return "".join(character if character.isprintable() else " " for character in text[:SAID_MAX])


def _seconds(text: str | None) -> float | None:
    """Seconds that Retry-After names as a number; the API sends no dates."""
    try:
        seconds = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
