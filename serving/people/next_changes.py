"""When values of a person change next with no new event: of many definitions, with bounded work."""

from __future__ import annotations

from collections.abc import Iterable

from expressions.definitions import Key
from expressions.live.changes import WORK_MAX, NextChange, Work
from serving.people.person import Person

#: One definition takes at most this part of the work: one that is hard to foresee leaves enough for the others.
PART = 10


def next_changes(person: Person, keys: Iterable[Key], work_max: int = WORK_MAX) -> dict[Key, NextChange]:
    """The first instant, UTC ms, at which each definition answers something else by time alone; NEVER; or UNKNOWN.

    It is unknown where the person's bases cannot tell, and where the work was spent before it was found.
    """
    left = work_max
    changes: dict[Key, NextChange] = {}
    for key in keys:
        part = min(left, work_max // PART)
        work = Work(part)
        changes[key] = person.catalogue.watched(key).next_change_ms(person.frame, work)
        left -= part - max(0, work.left)
    return changes
