"""Bases as bytes: columns, each in the smallest form that gives back the same bits.

    version byte, crc32 of the rest (4), then msgpack [events, spans, state ids, profile]
    events   per name: name, n, first ts, unit, width, steps, columns
    column   field, kind, width, data, which events have the field, scale or words
    spans    low, high, {index in state ids: state}

Times are steps from one to the next in a common unit; numbers are whole multiples of a decimal fraction where that is
exact, else floats; strings are indices in a dictionary. A column that is none of these is msgpack. Integers are
little-endian. Decoding checks what it reads: bytes that are no base raise `CodecError`. So does a base that was damaged
on its way, by its checksum.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from expressions.bases import Base, Events, SpanState, State
from expressions.event_columns import Decimals, EventColumn
from expressions.rules.values import Value, from_json, order_key
from serving.store.logged_event import packed

VERSION = 1
_VERSION_BYTE = bytes([VERSION])
#: The version byte and the checksum.
_HEADER_BYTES = 5

#: Decimal fractions that amounts come in.
SCALES = (1, 100, 10, 1_000, 1_000_000)
SIGNED = (("b", 2**7), ("h", 2**15), ("i", 2**31), ("q", 2**63))
UNSIGNED = (("B", 2**8), ("H", 2**16), ("I", 2**32), ("Q", 2**64))
WIDTHS = {code: array(code).itemsize for code in "bBhHiIqQd"}
assert WIDTHS == {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "d": 8}, "as C has them everywhere"
_UNSIGNED_TYPES = {width: np.dtype(f"<u{WIDTHS[width]}") for width, _ in UNSIGNED}

_MODULO = 2**64 - 1

_Natural = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[int, msgspec.Meta(ge=1)]


class _Column(NamedTuple):
    """A field of some events. `presence` is None where no value is null, else a bit an event, that of the first lowest.

    Kinds: n numbers, whole multiples of 1 / scale; d floats; s indices in `words`; ? booleans; m msgpack.
    """

    field: str
    kind: str
    width: str
    data: bytes
    presence: bytes | None = None
    scale: _Positive = 1
    words: list[str] = []  # noqa: RUF012  a default is never changed: packing only reads it


class _Packed(NamedTuple):
    """The events of one name."""

    name: str | None
    size: _Natural
    first_ms: int
    unit_ms: _Positive
    width: str
    steps: bytes
    columns: list[_Column]


class _Span(NamedTuple):
    """A span; its states by their place among the base's state ids."""

    low_ms: int
    high_ms: int
    states: dict[_Natural, Any]


class _Body(NamedTuple):
    """A base."""

    events: list[_Packed]
    spans: list[_Span]
    state_ids: list[bytes]
    profile: dict[str, tuple[int, Any]]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_unpack_body = msgspec.msgpack.Decoder(_Body).decode


class CodecError(ValueError):
    """The bytes are no base of a version that is known here."""


def encode(base: Base) -> bytes:
    """The base as bytes; `decode` gives it back equal, bit for bit.

    An attribute's whole numbers beyond 64 bits come back as floats, as the language reads them.
    """
    ids = sorted({state_id for span in base.spans for state_id in span.states})
    index = {state_id: at for at, state_id in enumerate(ids)}
    return framed(
        [_events(name, events) for name, events in base.events.items()],
        [
            _Span(
                span.low_ms,
                span.high_ms,
                {index[state_id]: packed_state(span.states[state_id]) for state_id in sorted(span.states)},
            )
            for span in base.spans
        ],
        [bytes.fromhex(state_id) for state_id in ids],
        msgspec.Raw(packed(dict(base.profile))),
    )


def framed(events: Sequence[Any], spans: Sequence[Any], state_ids: Sequence[bytes], profile: msgspec.Raw) -> bytes:
    """The bytes of a base whose parts are packed. `base_codec_columns`, which packs many at once, ends here too."""
    body = _pack((events, spans, state_ids, profile))
    return _VERSION_BYTE + crc32(body).to_bytes(4, "little") + body


def decode(data: bytes) -> Base:
    """The base that `encode` wrote. Raises `CodecError`."""
    if not data or data[0] != VERSION:
        raise CodecError(f"{len(data)} bytes of version {data[0] if data else 'none'}, and {VERSION} is known")
    packed = memoryview(data)[_HEADER_BYTES:]
    if crc32(packed) != int.from_bytes(data[1:_HEADER_BYTES], "little"):
        raise CodecError(f"these {len(data)} bytes were damaged: their checksum is another")
    try:
        body = _unpack_body(packed)
        state_ids = [state_id.hex() for state_id in body.state_ids]
        return Base(
            events={packed_events.name: _read_events(packed_events) for packed_events in body.events},
            spans=tuple(
                [
                    SpanState(low, high, {state_ids[at]: _read_state(state) for at, state in states.items()})
                    for low, high, states in body.spans
                ]
            ),
            profile=body.profile,
        )
    except (msgspec.DecodeError, ValueError, TypeError, IndexError, OverflowError) as error:
        raise CodecError(f"these {len(data)} bytes are no base: {error}") from error


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _events(name: str | None, events: Events) -> _Packed:
    times = events.ts_ms
    steps = [later - earlier for earlier, later in pairwise(times)]
    unit = math.gcd(*steps) or 1
    width, data = _integers([step // unit for step in steps], UNSIGNED)
    columns = [packed_column(field, column) for field, column in events.fields.items()]
    return _Packed(name, len(times), times[0] if times else 0, unit, width, data, columns)


def _read_events(packed: _Packed) -> Events:
    _, size, first_ms, unit_ms, width, data, columns = packed
    if width not in _UNSIGNED_TYPES:
        raise CodecError(f"no width {width!r}")
    steps = np.frombuffer(data, _UNSIGNED_TYPES[width])
    if len(steps) != (size - 1 if size else 0):
        raise CodecError(f"{size} events with {len(steps)} steps between them")
    times = array("q")
    if size:
        since = steps.astype(np.uint64)  # modulo 2^64, in which steps of any length come out right
        np.add.accumulate(since, out=since)
        if unit_ms != 1:
            since *= unit_ms
        since += first_ms & _MODULO
        times.append(first_ms)
        times.frombytes(since.data.cast("B"))
    return Events(times, {column.field: _read_column(column, size) for column in columns})


def _integers(numbers: Sequence[int], widths: tuple[tuple[str, int], ...]) -> tuple[str, bytes]:
    least, greatest = min(numbers, default=0), max(numbers, default=0)
    for width, bound in widths:
        if greatest < bound and least >= (-bound if width.islower() else 0):
            return width, _bytes_of(array(width, numbers))
    raise CodecError(f"numbers from {least} to {greatest} have no form")


def _bytes_of(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _read_integers(width: str, data: bytes) -> list[Any]:
    return _read_array(width, data).tolist()


def _read_array(width: str, data: bytes) -> array[Any]:
    if width not in WIDTHS:
        raise CodecError(f"no width {width!r}")
    numbers = array(width, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────


def packed_column(field: str, column: Sequence[Value]) -> _Column:
    """A field of some events, in the smallest form."""
    presence = None
    if None in column:
        presence = _bits([value is not None for value in column])
        column = [value for value in column if value is not None]
    kinds = {type(value) for value in column}
    if kinds == {float}:
        return _numbers(field, column, presence)  # type: ignore[arg-type]  # all are floats
    if kinds == {bool}:
        return _Column(field, "?", "B", bytes(column), presence)  # type: ignore[arg-type]  # all are booleans
    if kinds == {str}:
        words: dict[Any, int] = {word: index for index, word in enumerate(dict.fromkeys(column))}
        width, data = _integers([words[word] for word in column], UNSIGNED)
        return _Column(field, "s", width, data, presence, words=list(words))
    return _Column(field, "m", "B", _pack(column), presence)


def _numbers(field: str, column: Sequence[float], presence: bytes | None) -> _Column:
    greatest = max(max(column), -min(column))
    first = column[0]
    for scale in SCALES:
        # The first value tells most scales apart; the rest is looked at for a scale that it fits.
        if greatest * scale < 2.0**53 and round(first * scale) / scale == first and not _has_negative_zero(column):
            whole = [round(value * scale) for value in column]
            if [number / scale for number in whole] == column:
                width, data = _integers(whole, SIGNED)
                return _Column(field, "n", width, data, presence, scale)
    return _Column(field, "d", "d", _bytes_of(array("d", column)), presence)


def _has_negative_zero(column: Sequence[float]) -> bool:
    """Whether there is a -0.0, which no integer is."""
    return 0.0 in column and any(value == 0.0 and math.copysign(1.0, value) < 0.0 for value in column)


def _read_column(column: _Column, size: int) -> EventColumn:
    _, kind, width, data, presence, scale, words = column
    values: EventColumn
    if kind == "n":
        values = Decimals(_read_array(width, data), scale)
    elif kind == "s":
        values = [words[index] for index in _read_integers(width, data)]
    elif kind == "d":
        values = _read_integers("d", data)
    elif kind == "?":
        values = [byte == 1 for byte in data]
    elif kind == "m":
        values = [tuple(value) if type(value) is list else value for value in _unpack(data)]
    else:
        raise CodecError(f"no kind of column {kind!r}")
    present = size if presence is None else int.from_bytes(presence, "little").bit_count()
    if present != len(values):
        raise CodecError(f"{present} of {size} events have {column.field}, and {len(values)} values came")
    if presence is None:
        return values
    following = iter(values).__next__
    return [following() if is_there else None for is_there in _read_bits(presence, size)]


def _bits(flags: Sequence[bool]) -> bytes:
    number = int("".join("1" if flag else "0" for flag in reversed(flags)), 2)
    return number.to_bytes((len(flags) + 7) // 8, "little")


def _read_bits(data: bytes, size: int) -> list[bool]:
    text = f"{int.from_bytes(data, 'little'):0{size}b}"
    if len(text) != size:
        raise CodecError(f"{len(text)} bits for {size} events")
    return [bit == "1" for bit in reversed(text)]


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────
# An integer beyond 64 bits is text; a pair of time and value, a set and a tally are lists that begin with their kind.
# Sets and tallies hold order keys of scalars, whose rank follows from the value.


def packed_state(state: State) -> Any:
    """A state as msgpack holds it."""
    match state:
        case bool() | None | float() | str():
            return state
        case int():
            return state if -(2**63) <= state < 2**63 else ["i", str(state)]
        case tuple():
            ts_ms, value = state
            return ["t", ts_ms, list(value) if isinstance(value, tuple) else value]
        case frozenset():
            return ["u", [value for _, value in sorted(state)]]
        case dict():
            ordered = sorted(state)
            return ["c", [value for _, value in ordered], [state[key] for key in ordered]]
        case _:
            raise CodecError(f"no form for a state {state!r}")


def _read_state(packed: Any) -> State:
    match packed:
        case None | bool() | int() | float() | str():
            return packed
        case ["i", str() as digits]:
            return int(digits)
        case ["t", int() as ts_ms, value]:
            return ts_ms, from_json(value)
        case ["u", list() as items]:
            return frozenset(_keys(items))
        case ["c", list() as items, list() as counts]:
            return dict(zip(_keys(items), counts, strict=True))
        case _:
            raise CodecError(f"no state {packed!r}")


def _keys(items: list[Any]) -> Iterator[Any]:
    return (order_key(item) for item in items)
