"""Deleting a person, and asking for all that is known of one.

    every id of the person  →  a tombstone in the log of each, the farthest from the id that was asked for first

So a delete that is cut off is completed by asking again: whatever is still there is found from that id. A tombstone is
not a lock: what comes after it counts anew, and alone, since links before it are gone too.
"""

from __future__ import annotations

from collections.abc import Sequence

from serving.people.gather import gather
from serving.store.logged_event import Accepted
from serving.store.operations.operations import Operations
from serving.store.records import Reading, Record
from serving.store.requests import Steps


def delete_person(operations: Operations, namespaced_id: str, event_id: str) -> Steps[dict[str, int]]:
    """Deletes the person that an id belongs to: every id of it, with the seq of its tombstone."""
    reading: Reading = yield from gather(operations, namespaced_id)
    ids = farthest_first(reading.records, namespaced_id)
    seqs: list[int] = yield operations.delete([Accepted(event_id, "delete", one) for one in ids])
    return dict(zip(ids, seqs, strict=True))


def farthest_first(records: Sequence[Record], namespaced_id: str) -> list[str]:
    """The ids of a person by how many links they are away from one of them, the farthest first, that one last."""
    near = [namespaced_id]
    while len(near) < len(records):
        reached = [record.id for record in records if record.id not in near and _touches(record, near, records)]
        near += reached or [record.id for record in records if record.id not in near]
    return near[::-1]


def _touches(record: Record, near: Sequence[str], records: Sequence[Record]) -> bool:
    owns = any(one.id in near and one.owner is not None and one.owner.id == record.id for one in records)
    return owns or (record.owner is not None and record.owner.id in near)
