"""Deletes a person: a tombstone in the log of every id, the farthest from the id that was asked for first.

    gather every id of the person  →  order them, the farthest first  →  a tombstone in the log of each

A delete that is cut off is completed by asking again: every id that is still there can be reached from that id. A
tombstone is not a lock: an event that comes after it counts anew, and alone, since the links before it are gone too.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.people.gather import gather
from serving.store.logged_event import Accepted
from serving.store.operations.operations import Operations
from serving.store.records import Reading, Record
from serving.store.requests import Steps


def delete_person(operations: Operations, namespaced_id: str, event_id: str) -> Steps[dict[str, int]]:
    """Deletes the person that an id belongs to; returns the seq of the tombstone of every id of the person."""
    reading: Reading = yield from gather(operations, namespaced_id)
    ids = farthest_first(reading.records, namespaced_id)
    seqs: list[int] = yield operations.delete([Accepted(event_id, "delete", id) for id in ids])
    return dict(zip(ids, seqs, strict=True))


def farthest_first(records: Sequence[Record], namespaced_id: str) -> list[str]:
    """The ids of a person by the number of links between them and one id: the farthest first, that id last."""
    nearest_first = [namespaced_id]
    while len(nearest_first) < len(records):
        others = [record for record in records if record.id not in nearest_first]
        reached = [record.id for record in others if _is_linked(record, nearest_first, records)]
        nearest_first += reached or [record.id for record in others]
    return nearest_first[::-1]


def _is_linked(record: Record, ids: Sequence[str], records: Sequence[Record]) -> bool:
    """Whether a record owns one of these ids, or is owned by one of them."""
    owns = any(other.id in ids and other.owner is not None and other.owner.id == record.id for other in records)
    return owns or (record.owner is not None and record.owner.id in ids)
