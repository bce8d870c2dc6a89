"""What every flag says for a person, and what may change that: as change streams look at people."""

from __future__ import annotations

from collections.abc import Sequence
from time import thread_time
from typing import NamedTuple

from serving.people.decide import next_move_ms
from serving.people.decided import Decided, decided_bare
from serving.people.person import Person


class Outlook(NamedTuple):
    """All decisions, by the catalogue of this version, and the ids that they depend on.

    Time alone changes nothing for `moves_s` from then on; None: it never does. `lacking` are the ids that only a
    rebuild of their own makes whole. `work_s` is how long the processor worked on it.
    """

    decided: Decided
    ids: Sequence[str]
    version: int
    moves_s: float | None
    lacking: Sequence[str]
    work_s: float


def outlook(person: Person, device: str | None) -> Outlook:
    """The outlook of a person; `device` is the namespaced id of theirs that asks."""
    began_s = thread_time()
    decided = decided_bare(person, device, None)
    lacking = list(dict.fromkeys(id for decision in decided.decisions.values() for id in decision.lacking))
    moves_ms = person.now_ms if lacking else next_move_ms(person)  # nobody can tell when something is lacking
    moves_s = None if moves_ms is None else (moves_ms - person.now_ms) / 1000
    return Outlook(decided, _depends_on(person), person.catalogue.version, moves_s, lacking, thread_time() - began_s)


def _depends_on(person: Person) -> tuple[str, ...]:
    """The person's ids, whom they belong to, and those that they list: one of these may be the person's next."""
    ids: dict[str, None] = {}
    for record in person.reading.records:
        ids |= dict.fromkeys((record.id, *record.members))
        if record.owner is not None:
            ids[record.owner.id] = None
    return tuple(ids)
