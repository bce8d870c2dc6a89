"""Bases as bytes: columns, each in the smallest form that gives back the same bits.

    version byte, then msgpack [events, spans, state ids, profile]
    events   per name: name, n, first ts, unit, width, steps, then per field: name, form, presence, …, data
    spans    low, high, {index in state ids: state}

Times are steps from one to the next in a common unit; numbers are whole multiples of a decimal fraction where that is
exact, else floats; strings are indices in a dictionary. A column that is none of these is msgpack. Integers are
little-endian. Decoding checks what it reads: bytes that are no base raise `CodecError`.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any

import msgspec

from expressions.bases import Base, Events, SpanState, State
from expressions.values import Value, from_json, order_key

VERSION = 1

#: Decimal fractions that amounts come in.
_SCALES = (1, 100, 10, 1_000, 1_000_000)
_SIGNED = (("b", 2**7), ("h", 2**15), ("i", 2**31), ("q", 2**63))
_UNSIGNED = (("B", 2**8), ("H", 2**16), ("I", 2**32), ("Q", 2**64))
_SIZES = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "d": 8}

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


class CodecError(ValueError):
    """These bytes are no base of a version that is known here."""


def encode(base: Base) -> bytes:
    """The base as bytes; `decode` gives it back equal, bit for bit."""
    ids = sorted({state_id for span in base.spans for state_id in span.states})
    index = {state_id: at for at, state_id in enumerate(ids)}
    body = [
        [_events(name, events) for name, events in base.events.items()],
        [
            [span.low_ms, span.high_ms, {index[one]: _state(state) for one, state in span.states.items()}]
            for span in base.spans
        ],
        [bytes.fromhex(state_id) for state_id in ids],
        {key: list(held) for key, held in base.profile.items()},
    ]
    return bytes([VERSION]) + _pack(body)


def decode(data: bytes) -> Base:
    """The base that `encode` wrote. Raises `CodecError`."""
    try:
        if data[0] != VERSION:
            raise CodecError(f"a base of version {data[0]}, and {VERSION} is known")
        events, spans, ids, profile = _unpack(memoryview(data)[1:])
        names = [one.hex() for one in ids]
        return Base(
            events=dict(map(_read_events, events)),
            spans=tuple(
                SpanState(low, high, {names[at]: _read_state(state) for at, state in states.items()})
                for low, high, states in spans
            ),
            profile={key: (ts, value) for key, (ts, value) in profile.items()},
        )
    except (msgspec.DecodeError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise CodecError(f"these {len(data)} bytes are no base: {error}") from error


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _events(name: str | None, events: Events) -> list[Any]:
    times = events.ts_ms
    steps = [later - earlier for earlier, later in pairwise(times)]
    unit = math.gcd(*steps) or 1
    code, data = _integers([step // unit for step in steps], _UNSIGNED)
    packed: list[Any] = [name, len(times), times[0] if times else 0, unit, code, data]
    for field, column in events.fields.items():
        packed += [field, *_column(column)]
    return packed


def _read_events(packed: list[Any]) -> tuple[str | None, Events]:
    name, size, first, unit, code, data = packed[:6]
    steps = _read_integers(code, data)
    if len(steps) != max(size - 1, 0):
        raise CodecError(f"{size} events with {len(steps)} steps between them")
    if unit != 1:
        steps = [step * unit for step in steps]
    times = list(accumulate(steps, initial=first)) if size else []
    fields = {}
    for at in range(6, len(packed), 4):
        field, form, presence, column = packed[at : at + 4]
        fields[field] = values = _read_column(form, presence, column)
        if len(values) != size:
            raise CodecError(f"{size} events with {len(values)} values of {field}")
    return name, Events(times, fields)


def _integers(numbers: list[int], widths: tuple[tuple[str, int], ...]) -> tuple[str, bytes]:
    least, greatest = min(numbers, default=0), max(numbers, default=0)
    for code, bound in widths:
        if greatest < bound and least >= (-bound if code.islower() else 0):
            return code, _bytes_of(array(code, numbers))
    raise CodecError(f"numbers from {least} to {greatest} have no form")


def _bytes_of(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _read_integers(code: str, data: bytes) -> list[int]:
    if code not in _SIZES:
        raise CodecError(f"no form {code}")
    found = array(code)
    found.frombytes(data)
    if sys.byteorder == "big":
        found.byteswap()
    return found.tolist()


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────
# [form, presence, data]: presence is nil where no value is null, else a byte each. A form is a list: its kind, and what
# the kind needs.


def _column(column: list[Value]) -> list[Any]:
    presence = None
    if None in column:
        presence = bytes(value is not None for value in column)
        column = [value for value in column if value is not None]
    kinds = {type(value) for value in column}
    if kinds == {float}:
        return _numbers(column, presence)  # type: ignore[arg-type]
    if kinds == {bool}:
        return [["?"], presence, bytes(column)]  # type: ignore[arg-type]
    if kinds == {str}:
        words = list(dict.fromkeys(column))
        at = {word: index for index, word in enumerate(words)}
        code, data = _integers([at[word] for word in column], _UNSIGNED)
        return [["s", code, words], presence, data]
    return [["m"], presence, _pack([list(value) if isinstance(value, tuple) else value for value in column])]


def _numbers(column: list[float], presence: bytes | None) -> list[Any]:
    for scale in _SCALES:
        whole = [round(value * scale) for value in column] if _fits(column, scale) else []
        if whole and all(number / scale == value for number, value in zip(whole, column, strict=True)):
            code, data = _integers(whole, _SIGNED)
            return [["n", code, scale], presence, data]
    return [["d"], presence, _bytes_of(array("d", column))]


def _fits(column: list[float], scale: int) -> bool:
    return all(abs(value) * scale < 2.0**53 for value in column)


def _read_column(form: list[Any], presence: bytes | None, data: bytes) -> list[Value]:
    match form:
        case ["n", code, 1]:
            values: list[Any] = list(map(float, _read_integers(code, data)))
        case ["n", code, scale]:
            values = [number / scale for number in _read_integers(code, data)]
        case ["s", code, words]:
            values = [words[index] for index in _read_integers(code, data)]
        case ["?"]:
            values = [byte == 1 for byte in data]
        case ["d"]:
            values = _read_integers("d", data)
        case ["m"]:
            values = [from_json(value) for value in _unpack(data)]
        case _:
            raise CodecError(f"no form {form}")
    if presence is None:
        return values
    if sum(presence) != len(values):
        raise CodecError(f"{sum(presence)} values are there, and {len(values)} came")
    following: Callable[[], Value] = iter(values).__next__
    return [following() if is_there else None for is_there in presence]


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────
# An integer beyond 64 bits is text; a pair of time and value, a set and a tally are lists that begin with their kind.


def _state(state: State) -> Any:
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
        case ["i", digits]:
            return int(digits)
        case ["t", int() as ts_ms, value]:
            return ts_ms, from_json(value)
        case ["u", items]:
            return frozenset(_keys(items))
        case ["c", items, counts]:
            return dict(zip(_keys(items), counts, strict=True))
        case list() | dict() | bytes():
            raise CodecError(f"no state {packed!r}")
        case _:
            return packed


def _keys(items: list[Any]) -> Iterator[Any]:
    return (order_key(item) for item in items)
