"""The JSON of events as clients really write it: one bad event never costs its neighbours.

JavaScript writes half an emoji as a lone surrogate, Python writes NaN and Infinity, and a bug writes anything. The fast
decoder refuses a whole request for each of these. So a request that it refuses is read a second time, an event at a
time and by the standard library, which reads all of that, and the event that holds it is refused by name.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from serving.http.bodies import json_of
from serving.refusals import Invalid, invalid

#: Digits of a whole number that is read as one; a longer one is beyond every float.
DIGITS_MAX = 400

#: Events that a request is taken apart into; one with more is refused as a whole.
SPLIT_MAX = 10_000

#: What splits a text of JSON: brackets, commas, colons, and strings, in which brackets mean nothing.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},:]', re.DOTALL)
_BATCH = rb'"batch"'


def event_of(text: bytes | msgspec.Raw) -> Any:
    """The value that an event's JSON stands for. Raises `Invalid` that names the place of what no event may hold."""
    try:
        return json_of(text)
    except Invalid as refusal:
        return _lenient(bytes(text), refusal)


def _lenient(text: bytes, refusal: Invalid) -> Any:
    """The value as the standard library reads it. Raises `Invalid`: `refusal` where it reads nothing either."""
    try:
        # A byte that is no UTF-8 becomes half a surrogate pair, which is refused by its place like any other.
        value = json.loads(text.decode("utf-8", "surrogateescape"), parse_int=_whole)
    except RecursionError:
        raise invalid("event", "nested too deeply", "send flatter JSON") from None
    except ValueError:
        raise refusal from None
    _require_plain(value, "")
    return value


def fields_of(text: bytes, names: Iterable[str]) -> tuple[dict[str, Any], list[Invalid]] | None:
    """Some fields of an object that the fast decoder refuses, without those that hold what no event may; and why not.

    None where the standard library reads no object either.
    """
    try:
        value = json.loads(text.decode("utf-8", "surrogateescape"), parse_int=_whole)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    fields: dict[str, Any] = {}
    refusals: list[Invalid] = []
    for name in names:
        try:
            _require_plain(value.get(name), name)
            fields[name] = value.get(name)
        except Invalid as refusal:
            refusals.append(refusal)
    return fields, refusals


def _require_plain(value: Any, place: str) -> None:
    """Raises `Invalid`, with the place, for a number that is not finite and for text that is no Unicode."""
    for at, leaf in _leaves(value, place):
        if isinstance(leaf, float) and not math.isfinite(leaf):
            raise invalid(at, leaf, "send a finite number, or null where there is none")
        if isinstance(leaf, str) and not _is_unicode(leaf):
            raise invalid(at, leaf, "send valid Unicode: half of a surrogate pair, such as half an emoji, is none")


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS_MAX else math.inf


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Every number, text and name within the value at a place ("": an event), with its own place, in no order."""
    waiting: list[tuple[str, Any]] = [(place, value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, dict):
            for name, inner in item.items():
                yield place or "event", name
                waiting.append((f"{place}.{name}" if place else name, inner))
        elif isinstance(item, list):
            waiting += [(f"{place}.{at}", inner) for at, inner in enumerate(item)]
        else:
            yield place or "event", item


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def split_batch(body: bytes) -> tuple[bytes, list[bytes]] | None:
    """The text of a batch's request with an empty list of events, and the text of each event.

    None where the request is no object with a list `batch`, where its brackets do not match (nobody can tell then where
    an event ends), and beyond `SPLIT_MAX` events. Takes time in proportion to the text.
    """
    depth = 0
    is_batch = False  # the list of the key "batch" of the request's own object is open
    previous = b""
    begin = event_begin = 0
    events: list[bytes] = []
    found: tuple[bytes, list[bytes]] | None = None
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            if token == b"[" and depth == 2 and previous == _BATCH:
                is_batch, begin, event_begin, events = True, match.start(), match.end(), []
        elif token in (b"]", b"}"):
            depth -= 1
            if is_batch and depth == 1:
                is_batch = False
                last = body[event_begin : match.start()].strip()
                if last or events:
                    events.append(last)
                found = body[:begin] + b"[]" + body[match.end() :], events
        elif token == b"," and is_batch and depth == 2:
            events.append(body[event_begin : match.start()].strip())
            event_begin = match.end()
            if len(events) >= SPLIT_MAX:
                return None
        if token != b":":
            previous = token if depth == 1 else b""
    return found if depth == 0 else None
