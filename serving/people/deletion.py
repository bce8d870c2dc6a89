"""Deletes a person: a tombstone in the log of every id, the farthest from the id that was asked for first.

    gather every id of the person  →  order them, the farthest first  →  a tombstone in the log of each
                                   ↑                                  →  ids linked meanwhile: the same again
                                                                      →  lists of members without those who are gone

A link may be made between the gathering and the tombstone of its owner. The owner's record keeps its list of members.
So such an id is found afterwards, and is deleted too. A link that is made after the tombstone, of a claim from before
it, is taken back by whoever made it (`links.link_claims`), or by the drain, which meets its entry.

A delete that is cut off is completed by asking again: every id that is still there can be reached from that id. Once an
owner has its tombstone, the drain completes it too. A tombstone is not a lock: an event that comes after it counts
anew, and alone, since the links before it are gone too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serving.people.gather import gather
from serving.people.lists import tidy_lists
from serving.store.logged_event import Accepted, LogEntry
from serving.store.operations.links import Ties
from serving.store.operations.operations import Operations
from serving.store.records import Reading, Record
from serving.store.requests import Steps
from serving.store.scripts.claim import Owner


def delete_person(operations: Operations, namespaced_id: str, event_id: str) -> Steps[dict[str, int]]:
    """Deletes the person that an id belongs to; returns the seq of the tombstone of every id of the person."""
    reading: Reading = yield from gather(operations, namespaced_id)
    seqs: dict[str, int] = {}
    ids = farthest_first(reading.records, namespaced_id)
    while ids:
        seqs |= zip(ids, (yield operations.delete([Accepted(event_id, "delete", id) for id in ids])), strict=True)
        ids = [id for id in (yield from left_behind(operations, list(seqs))) if id not in seqs]
    yield from tidy_lists(operations, list(seqs))
    return seqs


def complete_deletes(operations: Operations, entries: Iterable[LogEntry]) -> Steps[None]:
    """Completes the deletes among entries of the log, for callers that were cut off. Else it changes nothing."""
    event_of = {entry.event.id: entry.event.event_id for entry in entries if entry.event.kind == "delete"}
    deleted = list(event_of)
    while deleted:
        owner_of: dict[str, str] = yield from left_behind(operations, deleted)
        deleted = [id for id in owner_of if id not in event_of]
        event_of |= {id: event_of[owner_of[id]] for id in deleted}
        if deleted:
            yield operations.delete([Accepted(event_of[id], "delete", id) for id in deleted])
    yield from tidy_lists(operations, list(event_of))


def left_behind(operations: Operations, deleted: Sequence[str]) -> Steps[dict[str, str]]:
    """Ids that belong to deleted ones by a claim from before the delete: id -> owner."""
    ties: dict[str, Ties] = yield operations.ties(deleted)
    listed = list(dict.fromkeys(member for id in deleted for member in ties[id].members))
    if not listed:
        return {}
    owners: list[Owner | None] = yield operations.owners(listed)
    return {
        member: owner.id
        for member, owner in zip(listed, owners, strict=True)
        if owner is not None and owner.id in ties and owner.since_ms <= ties[owner.id].deleted_ms
    }


def farthest_first(records: Sequence[Record], namespaced_id: str) -> list[str]:
    """The ids of a person by the number of links between them and one id: the farthest first, that id last."""
    linked: dict[str, list[str]] = {record.id: [] for record in records}
    for record in records:
        if record.owner is not None and record.owner.id in linked:
            linked[record.id].append(record.owner.id)
            linked[record.owner.id].append(record.id)
    nearest_first = dict.fromkeys([namespaced_id])
    for id in (level := [namespaced_id]):
        level += [other for other in linked[id] if other not in nearest_first]
        nearest_first |= dict.fromkeys(linked[id])
    return list(nearest_first | dict.fromkeys(linked))[::-1]
