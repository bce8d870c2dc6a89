"""One person, from records to answers: merge base and tail, finish the windows at `now`, say what is not certain.

Pure: records and the clock come in, answers go out. The API reads records over its own connection, the other callers
over theirs; all of them end here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from expressions.bases import Base, RawEvent, base_of
from expressions.definitions import Key
from expressions.live.to_state import Answer, Frame
from serving.definitions.catalogue import Catalogue
from serving.ids import shard_of
from serving.store import base_codec
from serving.store.records import Reading, Record
from serving.store.scripts.lua_copies import TAIL_HEADER_BYTES
from serving.store.stamps import Covered, Stamp

_unpack = msgspec.msgpack.Decoder(tuple[str, str | None, dict[str, Any]]).decode

#: Memory that what a process keeps decoded may take, about: by base or tail, and by each encoded byte (measured).
DECODED_BYTES_MAX = 320_000_000
DECODED_BYTES_A_PART = 1_300
DECODED_BYTES_A_BYTE = 5


def decoded_bytes(record: Record) -> int:
    """The memory that a record takes when it is decoded, about, and rather more."""
    parts = [part for part in (record.base, b"".join(record.tail)) if part]
    return sum(DECODED_BYTES_A_PART + DECODED_BYTES_A_BYTE * len(part) for part in parts)


class _Kept(NamedTuple):
    """A record's base and tail, decoded, and what they were decoded from."""

    stamp: Stamp | None
    base: Base | None
    tail_mark: tuple[int, int, int]
    tail: Base | None
    size: int


class DecodedBases:
    """What was decoded, by record, so that a person asked for again is not decoded again; the newest use last.

    A base is known by its stamp, since no two builds share a number. A tail is known by base, last seq, last receipt
    and length: a seq alone may come again after Redis lost its last events.
    """

    def __init__(self, bytes_max: int = DECODED_BYTES_MAX) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes_max = bytes_max
        self._bytes = 0

    def parts(self, record: Record) -> list[Base]:
        """The record's base and its tail, as far as it has them. Raises `CodecError` for a base that was damaged."""
        if record.base is None and not record.tail:
            return []
        kept = self._kept.get(record.id)
        mark = (record.last_seq, record.last_received_ms, len(record.tail))
        if kept is not None and kept.stamp == record.stamp and kept.tail_mark == mark:
            self._kept.move_to_end(record.id)
        else:
            kept = self._keep(record, mark, kept)
        return [one for one in (kept.base, kept.tail) if one is not None]

    def _keep(self, record: Record, mark: tuple[int, int, int], before: _Kept | None) -> _Kept:
        base = None
        if record.base is not None:
            same = before is not None and before.stamp == record.stamp
            base = before.base if before is not None and same else base_codec.decode(record.base)
        tail = tail_base(record.tail) if record.tail else None
        size = decoded_bytes(record)
        kept = self._kept[record.id] = _Kept(record.stamp, base, mark, tail, size)
        self._kept.move_to_end(record.id)
        self._bytes += size - (before.size if before is not None else 0)
        while self._bytes > self._bytes_max:
            self._bytes -= self._kept.popitem(last=False)[1].size
        return kept


class Answers(msgspec.Struct, frozen=True):
    """What was asked of a person. `warming` are the definitions whose value is only the value so far; `lacking` the ids
    that only a rebuild of their own makes whole again, because a base lacks a state or is past its horizon."""

    values: dict[Key, Answer]
    now_ms: int
    exact: bool
    warming: frozenset[Key]
    lacking: tuple[str, ...]
    asof: dict[str, Any]


def tail_base(entries: Sequence[bytes]) -> Base:
    """The tail in the shape of a base. Raises `CodecError` for an entry that is none."""
    events = []
    for entry in entries:
        try:
            kind, name, fields = _unpack(entry[TAIL_HEADER_BYTES:])
        except msgspec.DecodeError as error:
            raise base_codec.CodecError(f"these {len(entry)} bytes are no tail entry: {error}") from error
        events.append(RawEvent(kind, name, int.from_bytes(entry[6:12], "big", signed=True), fields))
    return base_of(events)


def person(reading: Reading, catalogue: Catalogue, bases: DecodedBases) -> Person:
    """A person as of one reading of all their records."""
    parts: list[Base] = []
    stamps: list[tuple[int, Covered | None]] = []
    now_ms = reading.clock_ms
    until_ms: int | None = None
    shards = max(len(catalogue.covered), 1)
    for record in reading.records:
        shard = shard_of(record.id, shards)
        stamp = record.stamp if record.stamp is not None else _covered(catalogue, shard)
        stamps.append((shard, stamp))
        now_ms = max(now_ms, record.last_received_ms, stamp.as_of_ms if stamp is not None else 0)
        parts += bases.parts(record)
        if record.stamp is not None and record.stamp.horizon_ms:
            horizon = record.stamp.as_of_ms + record.stamp.horizon_ms
            until_ms = horizon if until_ms is None else min(until_ms, horizon)
    return Person(reading, catalogue, parts, stamps, now_ms, until_ms)


def _covered(catalogue: Catalogue, shard: int) -> Covered | None:
    return catalogue.covered[shard] if shard < len(catalogue.covered) else None


class Person:
    """Everything that is known of a person at one instant."""

    def __init__(
        self,
        reading: Reading,
        catalogue: Catalogue,
        parts: Sequence[Base],
        stamps: Sequence[tuple[int, Covered | None]],
        now_ms: int,
        until_ms: int | None,
    ) -> None:
        self.reading = reading
        self.catalogue = catalogue
        self.parts = parts
        self.stamps = stamps
        self.now_ms = now_ms
        #: from here on the base of a heavy id is no longer exact
        self.until_ms = until_ms
        self.frame = Frame(catalogue.program, parts, now_ms, self.id)
        self._asof: dict[str, Any] | None = None  # not a cached_property, whose lock costs as much as what it keeps

    @property
    def id(self) -> str:
        """The namespaced id that the others belong to; empty for nobody."""
        return self.reading.records[0].id if self.reading.records else ""

    @property
    def is_past_horizon(self) -> bool:
        """Whether a heavy base has waited too long for a rebuild."""
        return self.until_ms is not None and self.now_ms >= self.until_ms

    def answers(self, keys: Iterable[Key]) -> Answers:
        """The values of these definitions, and what is to be said of them."""
        catalogue, past = self.catalogue, self.is_past_horizon
        found: dict[Key, Answer] = {}
        warming = set()
        is_lacking, exact = False, True
        for key in keys:
            answer = found[key] = self.frame.answer(catalogue.program.compiled(key))
            lacks = answer.missing or (answer.straddled and not past)
            is_lacking = is_lacking or lacks or answer.straddled
            exact = exact and answer.exact and not (answer.straddled and past)
            if lacks or not all([catalogue.is_ready(key, shard, stamp) for shard, stamp in self.stamps]):
                warming.add(key)
        return Answers(
            values=found,
            now_ms=self.now_ms,
            exact=exact,
            warming=frozenset(warming),
            lacking=tuple([record.id for record in self.reading.records]) if is_lacking else (),
            asof=self.asof,
        )

    @property
    def asof(self) -> dict[str, Any]:
        """What the answers rest on: the instant, the catalogue, and per id its last seq and what its base covers."""
        if self._asof is None:
            self._asof = self._rests_on()
        return self._asof

    def _rests_on(self) -> dict[str, Any]:
        return {
            "now": self.now_ms,
            "catalogue": self.catalogue.version,
            "ids": {
                record.id: {
                    "seq": record.last_seq,
                    **(
                        {"version": stamp.lake_version, "build": stamp.build, "covered": stamp.seq}
                        if stamp is not None
                        else {}
                    ),
                }
                for record, (_, stamp) in zip(self.reading.records, self.stamps, strict=True)
            },
        }
