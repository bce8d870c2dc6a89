"""Gathers a person: the records of an id, of the id that it belongs to, and of every id that belongs to that one.

    record asked for  →  up, from owner to owner, to the root, which nobody owns  →  down, through the lists of members

An id without owner and members, as most are, is one read. Nothing is folded together, so a link or an unlink shows at
once. Every record is read by itself, so it does not matter which of them a rebuild has reached. A large record that was
read before is asked first whether it has changed.

A link is in force only if its claim is newer than the owner's last delete. Who wrote another takes it back soon, but a
reader need not wait for that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

from serving.store.operations.operations import Operations
from serving.store.records import Reading, Record
from serving.store.requests import Steps
from serving.store.scripts.claim import Owner

#: From an id to its record as it was read last, None where it is not at hand.
AtHand: TypeAlias = Callable[[str], Record | None]


def _nothing_at_hand(namespaced_id: str) -> None:
    return None


def gather(
    operations: Operations, namespaced_id: str, at_hand: AtHand = _nothing_at_hand, *, only_marks: bool = False
) -> Steps[Reading]:
    """The records of the person that an id belongs to, the person's own first, read one after another.

    Those that are `at_hand` are read only where they have changed. With `only_marks` no base and no tail is read.
    """

    def read(ids: Sequence[str]) -> Steps[Reading]:
        if only_marks:
            marks: Reading = yield operations.record_marks(ids)
            return marks
        return (yield from _read_changed(operations, ids, at_hand))

    first = yield from read([namespaced_id])
    (record,) = first.records
    if record.owner is None and not record.members:
        return first
    known: dict[str, Record] = {record.id: record}
    latest = first
    root = record.id
    above = {root: 0}  # id -> its place
    while (owner := known[root].owner) is not None:
        if owner.id in above:  # each owns the other, until the drain opens the ring
            root = min(id for id, place in above.items() if place >= above[owner.id])
            break
        if owner.id not in known:
            latest = yield from read([owner.id])
            known[owner.id] = latest.records[0]
        if not _is_in_force(owner, known):
            break
        root = owner.id
        above[root] = len(above)
    person = dict.fromkeys([root, *reversed(above)])
    level = list(person)
    while level:
        listed = dict.fromkeys(member for id in level for member in known[id].members if member not in person)
        missing = [member for member in listed if member not in known]
        if missing:
            latest = yield from read(missing)
            known |= {record.id: record for record in latest.records}
        # A list is a hint: where two lists name one id, one of them may be old.
        level = [member for member in listed if _belongs(known[member], known, person)]
        person |= dict.fromkeys(level)
    return Reading([known[id] for id in person], latest.clock_ms, latest.catalogue_version)


def _read_changed(operations: Operations, ids: Sequence[str], at_hand: AtHand) -> Steps[Reading]:
    """The records of some ids; those that have not changed as they are at hand."""
    known = {id: record for id in ids if (record := at_hand(id)) is not None}
    if not known:
        records: Reading = yield operations.records(ids)
        return records
    marks: Reading = yield operations.record_marks(list(known))
    same = {mark.id: known[mark.id] for mark in marks.records if known[mark.id].mark == mark}
    changed = [id for id in ids if id not in same]
    if not changed:
        return marks._replace(records=[same[id] for id in ids])
    reading: Reading = yield operations.records(changed)
    by_id = same | {record.id: record for record in reading.records}
    return reading._replace(records=[by_id[id] for id in ids])


def _belongs(member: Record, known: Mapping[str, Record], person: Collection[str]) -> bool:
    return member.owner is not None and member.owner.id in person and _is_in_force(member.owner, known)


def _is_in_force(owner: Owner, known: Mapping[str, Record]) -> bool:
    return owner.since_ms > known[owner.id].deleted_ms
