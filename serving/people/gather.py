"""A person: an id, the id it belongs to, and every id that belongs to that one, merged at read.

    record asked for  →  up, from owner to owner, to the one that is nobody's  →  down, through the lists of members

An id without owner and members, as most are, is one read. Nothing is folded, so a link or an unlink shows at once, and
every record is read by itself: which of them a rebuild has reached does not matter.
"""

from __future__ import annotations

from collections.abc import Collection

from serving.store.operations.operations import Operations
from serving.store.records import Reading, Record
from serving.store.requests import Steps


def gather(operations: Operations, namespaced_id: str) -> Steps[Reading]:
    """The records of the person that an id belongs to, the person's own first, read one after another."""
    first: Reading = yield operations.records([namespaced_id])
    (record,) = first.records
    if record.owner is None and not record.members:
        return first
    known: dict[str, Record] = {record.id: record}
    latest = first
    root = record.id
    above = [root]
    while (owner := known[root].owner) is not None:
        if owner.id in above:  # each the other's: nothing writes that, and it must not be endless
            root = min(above[above.index(owner.id) :])
            break
        root = owner.id
        above.append(root)
        if root not in known:
            latest = yield operations.records([root])
            known[root] = latest.records[0]
    person = list(dict.fromkeys([root, *reversed(above)]))
    level = person
    while level:
        named = dict.fromkeys(member for one in level for member in known[one].members if member not in person)
        missing = [member for member in named if member not in known]
        if missing:
            latest = yield operations.records(missing)
            known |= {record.id: record for record in latest.records}
        # A list is a hint: of two that name one id, either may be the old one.
        level = [member for member in named if _belongs(known[member], person)]
        person += level
    return Reading([known[one] for one in person], latest.clock_ms, latest.catalogue_version)


def _belongs(member: Record, person: Collection[str]) -> bool:
    return member.owner is not None and member.owner.id in person
