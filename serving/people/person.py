"""One person, from records to answers.

    records of the person  →  decode: a base and a tail of each  →  merge them, and finish the windows at `now`
                           →  values, with what is warming, lacking or not exact

Pure: records and the clock come in, answers go out. The API, the commands and the tests read records each over their
own connection, and all of them end here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Any, NamedTuple

import msgspec

from expressions.bases import Base, RawEvent, base_of
from expressions.definitions import Key
from expressions.live.to_state import Answer, Frame
from serving.definitions.catalogue import Catalogue
from serving.ids import shard_of
from serving.store import base_codec
from serving.store.layout import TAIL_HEADER_BYTES, believed_ms
from serving.store.records import Reading, Record
from serving.store.stamps import Covered, Stamp

_unpack = msgspec.msgpack.Decoder(tuple[str, str | None, dict[str, Any]]).decode

#: The memory that the decoded bases and tails of a process may take, about.
DECODED_BYTES_MAX = 320_000_000
#: The memory that one of them takes, about: for itself, and for each encoded byte (measured). And what an entry of a
#: tail takes as it was read, beside its bytes: of large records that is kept, too.
DECODED_BYTES_A_PART = 1_300
DECODED_BYTES_A_BYTE = 5
READ_BYTES_AN_ENTRY = 48


def decoded_bytes(record: Record) -> int:
    """The memory that a record takes when it is decoded; an estimate, rather too high than too low."""
    sizes = [len(record.base or b""), sum(map(len, record.tail))]
    decoded = sum(DECODED_BYTES_A_PART + DECODED_BYTES_A_BYTE * size for size in sizes if size)
    return decoded + sum(sizes) + READ_BYTES_AN_ENTRY * len(record.tail) if record.is_large else decoded


class _Decoded(NamedTuple):
    """A record's base and tail, decoded, and by what they are known: the base's stamp and the tail's mark.

    Of a large one `record` is what was decoded: as long as it has not changed, it need not be read again.
    """

    record: Record | None
    stamp: Stamp | None
    base: Base | None
    tail_mark: tuple[int, int, int]
    tail: Base | None
    size: int

    def is_of(self, record: Record) -> bool:
        """Whether this is the record, decoded."""
        return self.stamp == record.stamp and self.tail_mark == tail_mark(record)


def tail_mark(record: Record) -> tuple[int, int, int]:
    """What tells a tail from every other one of its record with the same base."""
    return record.last_seq, record.last_received_ms, len(record.tail)


class DecodedBases:
    """Bases and tails by record, as they were decoded last, so that a person asked for again is not decoded again.

    A base is known by its stamp, since no two builds share a number. A tail is known by its base, last seq, last
    receipt and length: a seq alone may come again after Redis lost its last events. Beyond `bytes_max` the records
    that were not used for longest are forgotten. Several threads may ask at once.
    """

    def __init__(self, bytes_max: int = DECODED_BYTES_MAX) -> None:
        self._changing = Lock()
        self._decoded: OrderedDict[str, _Decoded] = OrderedDict()  # the last used comes last
        self._bytes_max = bytes_max
        self._bytes = 0

    def parts(self, record: Record) -> list[Base]:
        """The record's base and its tail, as far as it has them.

        Raises `CodecError` for a base or a tail entry that was damaged.
        """
        if record.base is None and not record.tail:
            return []
        decoded = self._decoded.get(record.id)
        if decoded is None or not decoded.is_of(record):
            decoded = self._decode(record, decoded)
        with self._changing:
            if record.id in self._decoded:
                self._decoded.move_to_end(record.id)
                if record.is_large and self._decoded[record.id].is_of(record):  # it may have another owner by now
                    self._decoded[record.id] = decoded._replace(record=record)
        return [part for part in (decoded.base, decoded.tail) if part is not None]

    def large(self, namespaced_id: str) -> Record | None:
        """The record of an id as it was decoded last, if it is large and still at hand."""
        decoded = self._decoded.get(namespaced_id)
        return None if decoded is None else decoded.record

    def _decode(self, record: Record, before: _Decoded | None) -> _Decoded:
        base = None
        if record.base is not None:
            same = before is not None and before.stamp == record.stamp
            base = before.base if before is not None and same else base_codec.decode(record.base)
        tail = tail_base(record.tail) if record.tail else None
        kept = record if record.is_large else None
        decoded = _Decoded(kept, record.stamp, base, tail_mark(record), tail, decoded_bytes(record))
        with self._changing:
            before = self._decoded.pop(record.id, None)  # another thread may have been here meanwhile
            self._decoded[record.id] = decoded
            self._bytes += decoded.size - (before.size if before is not None else 0)
            while self._bytes > self._bytes_max:
                self._bytes -= self._decoded.popitem(last=False)[1].size
        return decoded


class Answers(msgspec.Struct, frozen=True):
    """The values of definitions for a person, and how sure they are.

    `warming`: the definitions whose value is only the value so far. `lacking`: the ids that only a rebuild of their own
    makes whole, because a base lacks a state or is past its horizon. `asof`: what all of it rests on.
    """

    values: dict[Key, Answer]
    now_ms: int
    exact: bool
    warming: frozenset[Key]
    lacking: tuple[str, ...]
    asof: dict[str, Any]


def tail_base(entries: Sequence[bytes]) -> Base:
    """The tail in the shape of a base. Raises `CodecError` for bytes that are no tail entry."""
    events = []
    for entry in entries:
        try:
            kind, name, fields = _unpack(entry[TAIL_HEADER_BYTES:])
        except msgspec.DecodeError as error:
            raise base_codec.CodecError(f"these {len(entry)} bytes are no tail entry: {error}") from error
        events.append(RawEvent(kind, name, int.from_bytes(entry[6:12], "big", signed=True), fields))
    return base_of(events)


def person(reading: Reading, catalogue: Catalogue, bases: DecodedBases) -> Person:
    """A person as of one reading of all their records.

    The instant is the server's clock. Where that went back it is the last receipt, if that can be believed
    (`serving.store.layout`), or the instant of a base, until the next rebuild.
    """
    parts: list[Base] = []
    stamps: list[tuple[int, Covered | None]] = []
    now_ms = reading.clock_ms
    until_ms: int | None = None
    shards = max(len(catalogue.covered), 1)
    for record in reading.records:
        shard = shard_of(record.id, shards)
        stamp = record.stamp if record.stamp is not None else _covered(catalogue, shard)
        stamps.append((shard, stamp))
        last_ms = believed_ms(record.last_received_ms, reading.clock_ms)
        now_ms = max(now_ms, last_ms, stamp.as_of_ms if stamp is not None else 0)
        parts += bases.parts(record)
        if record.stamp is not None and record.stamp.horizon_ms:
            horizon = record.stamp.as_of_ms + record.stamp.horizon_ms
            until_ms = horizon if until_ms is None else min(until_ms, horizon)
    return Person(reading, catalogue, parts, stamps, now_ms, until_ms)


def _covered(catalogue: Catalogue, shard: int) -> Covered | None:
    return catalogue.covered[shard] if shard < len(catalogue.covered) else None


class Person:
    """Everything that is known of a person at one instant.

    `parts` are the decoded bases and tails of all records; `stamps` are, per record, its shard and what its base
    covers, None where nothing does. From `until_ms` on the base of a heavy id is not exact any more; None: it has none.
    """

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
        self.until_ms = until_ms
        self.frame = Frame(catalogue.program, parts, now_ms, self.id)
        self._answered: dict[Key, tuple[Answer, bool, bool, bool]] = {}
        self._asof: dict[str, Any] | None = None  # not a cached_property, whose lock costs as much as what it keeps

    @property
    def id(self) -> str:
        """The namespaced id that the person's others belong to; empty for nobody."""
        return self.reading.records[0].id if self.reading.records else ""

    @property
    def is_past_horizon(self) -> bool:
        """Whether a heavy base has waited too long for a rebuild."""
        return self.until_ms is not None and self.now_ms >= self.until_ms

    def answers(self, keys: Iterable[Key]) -> Answers:
        """The values of these definitions, and how sure they are."""
        answered = self._answered
        values: dict[Key, Answer] = {}
        warming = []
        is_lacking, exact = False, True
        for key in keys:
            known = answered.get(key)
            if known is None:
                known = answered[key] = self._answer(key)
            values[key], lacks, is_exact, is_warming = known
            is_lacking = is_lacking or lacks
            exact = exact and is_exact
            if is_warming:
                warming.append(key)
        return Answers(
            values=values,
            now_ms=self.now_ms,
            exact=exact,
            warming=frozenset(warming),
            lacking=tuple([record.id for record in self.reading.records]) if is_lacking else (),
            asof=self.asof,
        )

    def _answer(self, key: Key) -> tuple[Answer, bool, bool, bool]:
        """What a definition says, and whether it lacks something, is exact, and is warming: flags share it."""
        catalogue, past = self.catalogue, self.is_past_horizon
        answer = self.frame.answer(catalogue.program.compiled(key))
        lacks = answer.missing or (answer.straddled and not past)
        is_ready = all([catalogue.is_ready(key, shard, stamp) for shard, stamp in self.stamps])
        is_exact = answer.exact and not (answer.straddled and past)
        return answer, lacks or answer.straddled, is_exact, lacks or not is_ready

    @property
    def asof(self) -> dict[str, Any]:
        """What the answers rest on: the instant, the catalogue's version, and per id its last seq and base."""
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
