"""The ids around some claims, and whether a person may have what a claim would make of them.

A person has at most `IDS_MAX` ids, each at most `DEPTH_MAX` links away from the person's own id. So a read of a person
is bounded, whoever may link ids: an app's key is in its page. No id belongs to itself, through any number of owners.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, TypeAlias

from serving.store.operations.links import Claim, Ties
from serving.store.operations.operations import Operations
from serving.store.requests import Steps
from serving.store.scripts.claim import Owner

#: The ids of a person; more than the members of one owner, since an alias gives a user the ids of another.
IDS_MAX = 100
#: Links between an id and the person's own id: each alias of a known user to another adds one.
DEPTH_MAX = 16

#: A claim would make a person's id their owner, put ids too far away from the person's own, or make too many.
Excess: TypeAlias = Literal["cycle", "deep", "crowded"]

NOTHING = Ties(None, (), -1, -1)


def look_around(operations: Operations, ids: Collection[str]) -> Steps[Family]:
    """The ids that are tied to some ids, read level by level, up and down, until their bounds are passed.

    A device owns nobody, so one that is a member is counted, and not read.
    """
    known: dict[str, Ties] = {}
    start_of = {id: id for id in ids}
    read = dict.fromkeys(ids, 0)
    level = list(start_of)
    while level:
        found: dict[str, Ties] = yield operations.ties(level)
        known |= found
        level = []
        for id, ties in found.items():
            start = start_of[id]
            for tied in (*((ties.owner.id,) if ties.owner else ()), *filter(_may_own, ties.members)):
                if tied not in start_of and read[start] <= IDS_MAX + DEPTH_MAX:
                    start_of[tied] = start
                    read[start] += 1
                    level.append(tied)
    return Family(known)


class Family:
    """Ids with what ties them to others, as of a moment ago."""

    def __init__(self, known: Mapping[str, Ties]) -> None:
        self._known = dict(known)

    def dated(self, claim: Claim) -> Claim:
        """A claim, dated after the delete of its owner that the event came after in their log.

        Receipts do not say so where Redis' clock went back behind the delete.
        """
        owner = self._of(claim.owner)
        is_after = claim.event_seq > owner.deleted_seq and claim.since_ms <= owner.deleted_ms
        return claim._replace(since_ms=owner.deleted_ms + 1) if is_after else claim

    def is_open(self, claim: Claim) -> bool:
        """Whether a claim was not taken back since it was said.

        This is a look beforehand: the script that writes a claim has the last word, in the claimed id's own shard. It
        alone sees whether the clock went back behind the claim of an event that was just taken.
        """
        id, owner = self._of(claim.id), self._of(claim.owner)
        is_newest = claim.event_seq > 0 or claim.since_ms > max(id.deleted_ms, id.unlinked_ms)
        return is_newest and claim.since_ms > owner.deleted_ms

    def is_in_force(self, owner: Owner) -> bool:
        """Whether a link was claimed after its owner was deleted last."""
        return owner.since_ms > self._of(owner.id).deleted_ms

    def excess(self, claim: Claim) -> Excess | None:
        """What forbids a claim, made already or not."""
        above = list(self._above(claim.owner))
        if claim.id in above:
            return "cycle"
        below = list(self._below(claim.id))
        if len(above) + max(depth for _, depth in below) > DEPTH_MAX:
            return "deep"
        ids = {id for id, _ in self._below(above[-1])}
        return "crowded" if len(ids.union(id for id, _ in below)) > IDS_MAX else None

    def may_grow_meanwhile(self, claim: Claim) -> bool:
        """Whether others may break a bound at the same time: not where a user without an owner has devices only."""
        owner = self._of(claim.owner)
        return _may_own(claim.id) or owner.owner is not None or any(map(_may_own, owner.members))

    def link(self, claim: Claim, seq: int = 0) -> None:
        """Notes that a claim becomes a link."""
        owner = Owner(claim.owner, seq, claim.since_ms, claim.event_id)
        self._known[claim.id] = self._of(claim.id)._replace(owner=owner)
        listed = self._of(claim.owner).members
        self._known[claim.owner] = self._of(claim.owner)._replace(members=(*listed, claim.id))

    def unlink(self, claim: Claim) -> None:
        """Notes that a link is taken back."""
        listed = tuple(id for id in self._of(claim.owner).members if id != claim.id)
        self._known[claim.id] = self._of(claim.id)._replace(owner=None)
        self._known[claim.owner] = self._of(claim.owner)._replace(members=listed)

    def _of(self, id: str) -> Ties:
        return self._known.get(id, NOTHING)

    def _above(self, id: str) -> Iterator[str]:
        """An id, its owner, the owner's owner, and so on."""
        visited = {id}
        yield id
        while (owner := self._of(id).owner) is not None and owner.id not in visited and self.is_in_force(owner):
            id = owner.id
            visited.add(id)
            yield id

    def _below(self, id: str) -> Iterator[tuple[str, int]]:
        """An id and all that belong to it, each with the number of links to it; no more than are needed to be too many.

        A list is a hint. What was not read counts as listed.
        """
        depth_of = {id: 0}
        for at in (level := [id]):
            yield at, depth_of[at]
            for member in self._of(at).members if len(level) <= IDS_MAX else ():
                if member not in depth_of and self._belongs(member, at):
                    depth_of[member] = depth_of[at] + 1
                    level.append(member)

    def _belongs(self, member: str, listed_by: str) -> bool:
        if member not in self._known:
            return True
        owner = self._known[member].owner
        return owner is not None and owner.id == listed_by and self.is_in_force(owner)


def _may_own(id: str) -> bool:
    return not id.startswith("anon:")
