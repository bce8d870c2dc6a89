"""Records as they were read: fields by name, the tail apart. Nothing is decoded here beyond the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.store import keys, positions, stamps
from serving.store.layout import believed_ms
from serving.store.scripts.claim import Owner, owner_of
from serving.store.scripts.members import members_of
from serving.store.stamps import Stamp

#: Recent events, and bytes of a base, from which on a record is large: to read it takes Redis and us some milliseconds.
TAIL_ENTRIES, BASE_BYTES = 1_000, 100_000


class Record(NamedTuple):
    """The record of one raw id. `stamp` is None where nothing was ever published for it; then its shard's own stamp
    stands for it.

    `base` is the bytes of `base_codec`, None for an empty base. `tail` has the entries, in no order, as
    `serving.store.layout` describes them; all are beyond what the base covers. `members` may name ids of other people:
    the owner of an id is in its own record. `deleted_ms` is the receipt of its last delete in UTC ms, -1 where it has
    none. `fields` counts all fields, also those that are not read here.
    """

    id: str
    stamp: Stamp | None = None
    base: bytes | None = None
    tail: Sequence[bytes] = ()
    last_received_ms: int = 0
    last_seq: int = 0
    owner: Owner | None = None
    members: Sequence[str] = ()
    tombstone_seq: int = 0
    deleted_ms: int = -1
    fields: int = 0

    @property
    def is_large(self) -> bool:
        """Whether an answer about it takes more than a moment."""
        return are_large((self,))

    @property
    def mark(self) -> Record:
        """The record without base and tail: another one of the same id and the same mark has the same base and tail.

        No two builds share a stamp, and what an event or a delete changes shows in the last entry or the tombstone.
        """
        return self._replace(base=None, tail=())

    @property
    def has_events(self) -> bool:
        """Whether anything was logged for it since it was deleted last, or at all."""
        return self.last_seq > self.tombstone_seq


class Reading(NamedTuple):
    """Some records as of one moment, the server's clock in UTC ms, and the catalogue's version at that moment.

    The version is None where there is no catalogue: the server is being recovered.
    """

    records: list[Record]
    clock_ms: int
    catalogue_version: int | None

    @property
    def now_ms(self) -> int:
        """The instant to answer at: the clock, or, if it went back a little, the last receipt of what was read."""
        return max([self.clock_ms, *(believed_ms(record.last_received_ms, self.clock_ms) for record in self.records)])


def are_large(records: Sequence[Record]) -> bool:
    """Whether an answer about all of them together takes more than a moment."""
    entries = bytes_ = 0
    for record in records:
        entries += len(record.tail)
        bytes_ += len(record.base or b"")
    return entries > TAIL_ENTRIES or bytes_ > BASE_BYTES


def record_of(namespaced_id: str, flat: Sequence[bytes]) -> Record:
    """The record of an id, from the reply to HGETALL; empty where the key is absent."""
    if not flat:
        return Record(namespaced_id)
    known: dict[bytes, bytes] = {}
    tail: list[bytes] = []
    pairs = iter(flat)
    for field, value in zip(pairs, pairs, strict=True):
        if len(field) >= keys.TAIL_FIELD_BYTES_MIN:
            tail.append(value)
        else:
            known[field] = value
    stamp = known.get(keys.STAMP)
    last, tombstone = known.get(keys.LAST), known.get(keys.TOMBSTONE)
    received_ms, seq = positions.decode(last) if last else (0, 0)
    deleted_seq, deleted_ms = positions.decode(tombstone) if tombstone else (0, -1)
    return Record(
        id=namespaced_id,
        stamp=stamps.decode(stamp) if stamp else None,
        base=known.get(keys.BASE) or None,
        tail=tail,
        last_received_ms=received_ms,
        last_seq=seq,
        owner=owner_of(known.get(keys.OWNER)),
        members=members_of(known.get(keys.MEMBERS)),
        tombstone_seq=deleted_seq,
        deleted_ms=deleted_ms,
        fields=len(flat) // 2,
    )


#: The fields that a mark is made of; their number comes beside them.
MARK_FIELDS = (keys.STAMP, keys.LAST, keys.TOMBSTONE, keys.OWNER, keys.MEMBERS)


def mark_of(namespaced_id: str, values: Sequence[bytes | None], fields: int) -> Record:
    """The mark of a record, from the values of `MARK_FIELDS` and the number of all its fields."""
    present = [pair for pair in zip(MARK_FIELDS, values, strict=True) if pair[1] is not None]
    flat = [text for pair in present for text in pair if text is not None]
    return record_of(namespaced_id, flat)._replace(fields=fields).mark
