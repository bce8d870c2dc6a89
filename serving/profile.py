"""One person, from records to answers: merge base and tail, finish the windows at `now`, say what is not certain.

Pure: records and the clock come in, answers go out. The API reads records over its own connection, the other callers
over theirs; all of them end here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from expressions.bases import Base, RawEvent, base_of
from expressions.to_state import Answer, Frame, Key
from serving import codec
from serving.catalogue import Catalogue
from serving.ids import shard_of
from serving.records import Reading, Record
from serving.scripts.copies import TAIL_HEADER_BYTES
from serving.stamps import Covered

_unpack = msgspec.msgpack.Decoder(tuple[str, str | None, dict[str, Any]]).decode

#: Decoded bases that a process keeps, newest use last: some 10 KB each.
BASES_MAX = 20_000
EMPTY = Base()


class Bases:
    """Decoded bases by their bytes' stamp, so that a person asked for again is not decoded again."""

    def __init__(self, most: int = BASES_MAX) -> None:
        self._held: OrderedDict[str, tuple[Any, Base]] = OrderedDict()
        self._most = most

    def base(self, record: Record) -> Base:
        """The record's base, decoded; an empty one where nothing was published."""
        if record.base is None:
            return EMPTY
        held = self._held.get(record.id)
        if held is not None and held[0] == record.stamp:
            self._held.move_to_end(record.id)
            return held[1]
        base = codec.decode(record.base)
        self._held[record.id] = (record.stamp, base)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return base


@dataclass(frozen=True)
class Answers:
    """What was asked of a person. `warming` are the definitions whose value is only the value so far; `lacking` the ids
    whose bases lack a state that one of them needs, so that only a rebuild of those ids makes it whole."""

    values: dict[Key, Answer]
    now_ms: int
    exact: bool
    warming: frozenset[Key]
    lacking: tuple[str, ...]
    asof: dict[str, Any]


def tail_base(entries: Sequence[bytes]) -> Base:
    """The tail in the shape of a base."""
    events = []
    for entry in entries:
        kind, name, fields = _unpack(entry[TAIL_HEADER_BYTES:])
        events.append(RawEvent(kind, name, int.from_bytes(entry[6:12], "big", signed=True), fields))
    return base_of(events)


def person(reading: Reading, catalogue: Catalogue, bases: Bases) -> Person:
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
        if record.base is not None:
            parts.append(bases.base(record))
        if record.stamp is not None and record.stamp.horizon_ms:
            horizon = record.stamp.as_of_ms + record.stamp.horizon_ms
            until_ms = horizon if until_ms is None else min(until_ms, horizon)
        if record.tail:
            parts.append(tail_base(record.tail))
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
        self.frame = Frame(catalogue.program, parts, now_ms)

    @property
    def is_past_horizon(self) -> bool:
        """Whether a heavy base has waited too long for a rebuild."""
        return self.until_ms is not None and self.now_ms >= self.until_ms

    def answers(self, keys: Iterable[Key]) -> Answers:
        """The values of these definitions, and what is to be said of them."""
        program, past = self.catalogue.program, self.is_past_horizon
        found: dict[Key, Answer] = {}
        warming = set()
        is_lacking = False
        for key in keys:
            answer = found[key] = self.frame.answer(program.compiled(key))
            lacks = answer.missing or (answer.straddled and not past)
            is_lacking = is_lacking or lacks
            if lacks or not all(self.catalogue.is_ready(key, shard, stamp) for shard, stamp in self.stamps):
                warming.add(key)
        exact = all(answer.exact and not (answer.straddled and past) for answer in found.values())
        return Answers(
            values=found,
            now_ms=self.now_ms,
            exact=exact,
            warming=frozenset(warming),
            lacking=tuple(record.id for record in self.reading.records) if is_lacking else (),
            asof=self.asof(),
        )

    def asof(self) -> dict[str, Any]:
        """What the answers rest on: the instant, the catalogue, and per id its last seq and what its base covers."""
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
