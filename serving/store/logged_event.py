"""Accepted events: the API writes them to the log, validated and routed; the drain reads them from it.

The log keeps the whole event; the record keeps only what definitions need (`serving.ingest.projection`). An accepted
event has no clamped time, receipt or seq yet: the ingest script adds them, since only Redis knows them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """An event. `id` is namespaced, and names the record; `original_ts` is the client's time in UTC ms, if any.

    `kind` is track, page, screen, identify, group or alias. Entries that nobody sends are of kind link (`name` is the
    id that owns this one from now on), unlink or delete. `properties` are those of an event, `traits` the attributes
    of an identify. `anonymous_id` of an alias is the id that the user had before, of whatever kind. `key_label` is that
    of the key that it came with: the lake does not keep it.
    """

    event_id: str
    kind: str
    id: str
    user_id: str | None = None
    anonymous_id: str | None = None
    name: str | None = None
    original_ts: int | None = None
    properties: dict[str, Any] = {}
    traits: dict[str, Any] = {}
    context: dict[str, Any] = {}
    label: str | None = None
    email_hash: str | None = None
    key_label: str | None = None


class RefusedEvent(msgspec.Struct, frozen=True, array_like=True):
    """A refused event for who watches: its receipt by the API's clock (UTC ms), why it was refused, the beginning of
    its JSON, the label of the key that it came with, and the namespaced ids that it names.
    """

    received_ms: int
    code: str
    reason: str
    text: str
    key_label: str
    ids: list[str] = []


class LogEntry(NamedTuple):
    """An entry of a shard's log: its seq, the event, the clamped event time and the receipt, in UTC ms; and how many
    bytes the event has there."""

    seq: int
    event: Accepted
    ts_ms: int
    received_ms: int
    size: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Accepted)

#: The integers of msgpack. A number beyond them is kept as a 64-bit float, which the language reads it as.
_INTEGERS = range(-(2**63), 2**64)


def encode(event: Accepted) -> bytes:
    """The event as msgpack: a field of its log entry."""
    return packed(event)


def decode(data: bytes) -> Accepted:
    """The event that `encode` wrote. Fields added later have their defaults. Raises `msgspec.DecodeError`."""
    return _decoder.decode(data)


def packed(value: Any) -> bytes:
    """Any value that events are made of, as msgpack; integers beyond 64 bits become floats."""
    try:
        return _encoder.encode(value)
    except OverflowError:
        return _encoder.encode(_within_64_bits(msgspec.to_builtins(value)))


def _within_64_bits(value: Any) -> Any:
    match value:
        case dict():
            return {name: _within_64_bits(item) for name, item in value.items()}
        case list() | tuple():
            return [_within_64_bits(item) for item in value]
        case int() if value not in _INTEGERS:
            return float(value)
        case _:
            return value
