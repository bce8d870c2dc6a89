"""From a call to an event's bytes, in the words of the wire.

Serialised in the caller, so a value that is no JSON is refused where it was written, and nothing that the app changes
afterwards reaches the queue. A batch is the events' bytes joined, never parsed again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, TypeAlias
from uuid import UUID

Kind: TypeAlias = Literal["identify", "track", "page", "screen", "group", "alias"]
Event: TypeAlias = dict[str, Any]

#: One event, and one request, as the server bounds them.
EVENT_BYTES_MAX = 32 * 1024
REQUEST_BYTES_MAX = 500 * 1024

#: A whole decimal with more digits than this is sent as a float: a larger whole number is no 64-bit integer.
DECIMAL_DIGITS_MAX = 18

#: Random bytes are asked of the system for so many ids at once: it costs a call each time.
_IDS_AT_ONCE = 256


class NotSendable(ValueError):
    """An event that is no JSON or too large. The message says which, and the remedy."""


class MessageIds:
    """Message ids: random UUIDs. A forked child draws its own, and threads never draw the same one."""

    def __init__(self) -> None:
        self._drawn: list[str] = []
        self._pid = 0

    def __call__(self) -> str:
        """The next id."""
        if self._pid != os.getpid():
            self._drawn, self._pid = [], os.getpid()
        try:
            drawn = self._drawn.pop()  # in one step: a thread or a signal may draw at any moment
        except IndexError:
            text = os.urandom(16 * _IDS_AT_ONCE).hex()
            fresh = [text[at : at + 32] for at in range(0, len(text), 32)]
            drawn, self._drawn = fresh.pop(), fresh
        return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{'89ab'[int(drawn[16], 16) & 3]}{drawn[17:20]}-{drawn[20:]}"


def timestamp_text(given: datetime | str | None) -> str:
    """A time as the wire has it, ISO 8601 in UTC to the microsecond; now where none is given.

    Raises `NotSendable` for a time without a zone: nobody can tell which instant it is.
    """
    if given is None:
        given = datetime.now(UTC)
    elif isinstance(given, str):
        return given
    elif not isinstance(given, datetime):
        raise NotSendable(
            f"timestamp: {type(given).__name__} is no time; give a datetime, or a text as ISO 8601 has it"
        )
    if given.tzinfo is None:
        raise NotSendable(
            f"the time {given.isoformat()} has no time zone; give one, as datetime.now(timezone.utc) does"
        )
    try:
        return given.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except Exception as error:  # before year 1 or after 9999 in UTC, or the app's own time zone fails
        raise NotSendable(
            f"a time has no place in UTC ({type(error).__name__}); give one of the years 1 to 9999"
        ) from error


def _plain(value: Any) -> Any:
    """A value of another library as JSON has it: numpy's, pandas', times, decimals, sets, enumerations.

    Raises `NotSendable` for everything else.
    """
    match value:
        case datetime():
            return timestamp_text(value)
        case date():
            return value.isoformat()
        case Decimal():
            is_whole = (
                value.is_finite() and value.adjusted() < DECIMAL_DIGITS_MAX and value == value.to_integral_value()
            )
            return int(value) if is_whole else float(value)
        case UUID():
            return str(value)
        case Enum():
            return value.value
        case set() | frozenset():
            return sorted(value, key=repr)
        case Mapping():
            return dict(value)
    for method in ("tolist", "item", "isoformat"):  # numpy arrays, numpy scalars, times of pandas
        convert = getattr(value, method, None)
        if callable(convert):
            return convert()
    raise NotSendable(f"{type(value).__name__} is no JSON value; send a number, a text, a boolean, a list or a dict")


_encode: Callable[[Any], str] = json.JSONEncoder(
    default=_plain, allow_nan=False, ensure_ascii=False, check_circular=True, separators=(",", ":")
).encode


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """An event as the wire has it. Raises `NotSendable`."""
    try:
        encoded = _encode(event).encode()
    except NotSendable:
        raise
    except UnicodeEncodeError as error:
        raise NotSendable(
            "a text holds half of a surrogate pair, which is no Unicode; send whole characters"
        ) from error
    except RecursionError as error:
        raise NotSendable("nested too deeply, or within itself; nest at most 16 levels") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise NotSendable(
            f"no JSON: {error}; send finite numbers, texts, booleans, lists and dicts with text keys"
        ) from error
    if len(encoded) > EVENT_BYTES_MAX:
        raise NotSendable(
            f"{len(encoded)} bytes, and an event has at most {EVENT_BYTES_MAX}; send fewer or shorter properties"
        )
    return encoded


def ids_of(event: Mapping[str, Any]) -> tuple[str, ...]:
    """The ids that an event names, each with its kind before it: whose cached answers it makes old."""
    ids = []
    for name, kind in (("userId", "user"), ("anonymousId", "anon"), ("previousId", "user"), ("previousId", "anon")):
        value = event.get(name)
        if value is not None:
            ids.append(f"{kind}:{value}")
    return tuple(ids)


def request_bytes(events: list[bytes], sent_at: str) -> bytes:
    """The body of `POST /v1/batch`."""
    return b'{"batch":[' + b",".join(events) + b'],"sentAt":"' + sent_at.encode() + b'"}'


#: What a request has beside its events.
ENVELOPE_BYTES = len(request_bytes([], "2026-01-01T00:00:00.000000Z"))
