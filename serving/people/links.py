"""Which ids of an event belong together, and how that is written down.

An event that names several ids says that they are one person's: the strongest of them (user before email hash before
anonymous id) claims the others. The claim is an entry in the log of the claimed id's shard, and two pointers follow it:
the list of members in the owner's record, written first, and the owner in the claimed id's record, written with the
entry. The first claim wins: a later user of the same device gets only events of their own.

    owners, read together with the ingest  →  (claims of nobody's ids)  →  member list  →  claim

A claim was said when the event came, of a repeat when the copy that counts came; it is made a moment later, or much
later where a call was cut off. It becomes no link that was taken back since, by an unlink or by a delete of either id.

Nothing here talks to Redis: the steps are requests, which either store follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from serving.ids import Ids, namespaced, prefixed
from serving.store.logged_event import Accepted, LogEntry
from serving.store.operations.links import Claim
from serving.store.operations.operations import Operations
from serving.store.requests import Steps
from serving.store.scripts.claim import Claimed, Owner
from serving.store.scripts.members import MEMBERS_MAX
from serving.store.scripts.read_ended import Ended

Why: TypeAlias = Literal["full", "taken", "cycle"]

#: Ids between one and the person it belongs to, at the most: each alias of a known user to another adds one.
STEPS_MAX = 64


class RefusedClaim(NamedTuple):
    """A claim that did not become a link, and why: the owner has no room, the id is another's, or it owns the owner."""

    claim: Claim
    why: Why

    @property
    def message(self) -> str:
        """What to tell the caller; never whose the id is."""
        id, owner = self.claim.id, self.claim.owner
        match self.why:
            case "full":
                return f"{id} was not linked to {owner}, which has {MEMBERS_MAX} linked ids already: unlink one of them"
            case "taken":
                return f"{id} was not linked to {owner}: it is linked to another user, unlink it first"
            case "cycle":
                return f"{id} was not linked to {owner}: {owner} belongs to {id} already, alias it the other way round"


def claims_of(event: Accepted) -> list[Claim]:
    """What an event says about whose its ids are; nothing where it names one id alone."""
    if event.kind == "alias":
        if event.user_id is None or event.anonymous_id is None:
            return []
        owner = namespaced("user", event.user_id)
        return [Claim(one, owner, event.event_id) for one in previous_ids(event.anonymous_id) if one != owner]
    if event.kind == "link" or (event.anonymous_id is None and event.email_hash is None):
        return []
    owner, *others = Ids(event.user_id, event.anonymous_id, event.email_hash).strongest_first
    return [Claim(one, owner, event.event_id) for one in others]


def previous_ids(previous: str) -> list[str]:
    """The records that an alias' previous id may mean: what its prefix says, else the device and the user so called.

    Both are claimed, whether or not either was seen before, so that it does not matter which came first.
    """
    named = prefixed(previous)
    if named is not None:
        return [named]
    return [namespaced("anon", previous), namespaced("user", previous)]


def distinct_claims(events: Iterable[Accepted]) -> list[Claim]:
    """The claims of some events, each pair of ids once, in order."""
    found: dict[tuple[str, str], Claim] = {}
    for event in events:
        if event.anonymous_id is not None or event.email_hash is not None:
            for claim in claims_of(event):
                found.setdefault((claim.id, claim.owner), claim)
    return list(found.values())


def claims_with_receipts(claims: Sequence[Claim], events: Sequence[Accepted], came_ms: Sequence[int]) -> list[Claim]:
    """The claims of some events that came then, in UTC ms; of several that say the same the newest."""
    newest: dict[tuple[str, str], Claim] = {}
    for event, ms in zip(events, came_ms, strict=True):
        for claim in claims_of(event):
            _keep_newest(newest, claim._replace(since_ms=ms))
    return [newest[claim.id, claim.owner] for claim in claims]


def _keep_newest(known: dict[tuple[str, str], Claim], claim: Claim) -> None:
    held = known.setdefault((claim.id, claim.owner), claim)
    if claim.since_ms > held.since_ms:
        known[claim.id, claim.owner] = claim


def link_claims(
    operations: Operations, claims: Sequence[Claim], owners: Sequence[Owner | None]
) -> Steps[list[RefusedClaim]]:
    """Makes links of claims, whose ids had these owners a moment ago; returns those that did not become one.

    A claim that was taken back since it was said is none of them: nothing is said of it, and nothing done.
    """
    refused = [
        RefusedClaim(claim, "taken")
        for claim, held in zip(claims, owners, strict=True)
        if held is not None and held.id != claim.owner
    ]
    unowned = [claim for claim, held in zip(claims, owners, strict=True) if held is None]
    wanted = []
    for claim in (yield from open_claims(operations, unowned)):
        if (yield from owns(operations, claim.id, claim.owner)):
            refused.append(RefusedClaim(claim, "cycle"))
        else:
            wanted.append(claim)
    if not wanted:
        return refused
    room = yield operations.add_members(wanted)
    refused += [RefusedClaim(claim, "full") for claim, has_room in zip(wanted, room, strict=True) if not has_room]
    wanted = [claim for claim, has_room in zip(wanted, room, strict=True) if has_room]
    claimed = yield operations.link(wanted)
    lost = yield from _orphaned(operations, wanted, claimed)
    for claim in lost:
        yield operations.unlink(claim.id, f"{claim.event_id}:unlink")
    for claim, result in zip(wanted, claimed, strict=True):
        if not result.is_done and (result.owner is None or result.owner.id != claim.owner):
            lost.append(claim)
            if result.owner is not None:
                refused.append(RefusedClaim(claim, "taken"))
    for claim, result in reversed(list(zip(wanted, claimed, strict=True))):
        # Two aliases at once, each the other way round, may both have found nothing in their way. Of one call's the
        # last gives way, as if they had come one after the other.
        if result.is_done and claim not in lost and (yield from owns(operations, claim.id, claim.owner)):
            yield operations.unlink(claim.id, f"{claim.event_id}:unlink")
            lost.append(claim)
            refused.append(RefusedClaim(claim, "cycle"))
    if lost:
        yield operations.drop_members(lost)
    return refused


def open_claims(operations: Operations, claims: Sequence[Claim]) -> Steps[list[Claim]]:
    """The claims less those that were taken back since. The claimed id's own log has the last word on it."""
    ids = list(dict.fromkeys(one for claim in claims for one in (claim.id, claim.owner)))
    if not ids:
        return []
    ended: dict[str, Ended] = dict(zip(ids, (yield operations.ended(ids)), strict=True))
    return [claim for claim in claims if claim.since_ms > max(*ended[claim.id], ended[claim.owner].deleted_ms)]


def _orphaned(operations: Operations, claims: Sequence[Claim], claimed: Sequence[Claimed]) -> Steps[list[Claim]]:
    """Links whose owner was deleted since they were said: the delete did not see them yet, and left their ids alone."""
    made = {claim: result.seq for claim, result in zip(claims, claimed, strict=True) if result.is_done}
    if not made:
        return []
    ended: list[Ended] = yield operations.ended([claim.owner for claim in made])
    past = [claim for claim, owner in zip(made, ended, strict=True) if claim.since_ms <= owner.deleted_ms]
    owners: list[Owner | None] = yield operations.owners([claim.id for claim in past])
    return [claim for claim, held in zip(past, owners, strict=True) if held is not None and held.seq == made[claim]]


def complete_links(operations: Operations, entries: Iterable[LogEntry]) -> Steps[None]:
    """Puts right what a caller left half done that was cut off between an event and its links. Changes nothing else.

    An event whose claim was not written is given it, unless that was taken back since; an id that is not on the list
    of its owner comes onto it.
    """
    said: dict[tuple[str, str], Claim] = {}
    for entry in entries:
        event = entry.event
        if event.kind == "link" and event.name is not None:
            _keep_newest(said, Claim(event.id, event.name, event.event_id, entry.received_ms))
        for claim in claims_of(event):
            _keep_newest(said, claim._replace(since_ms=entry.received_ms))
    claims = list(said.values())
    if not claims:
        return
    owners = yield operations.owners([claim.id for claim in claims])
    held = [claim for claim, owner in zip(claims, owners, strict=True) if owner and owner.id == claim.owner]
    if held:
        yield operations.add_members(held)
    yield from link_claims(operations, claims, owners)


def unlink_id(operations: Operations, namespaced_id: str, event_id: str) -> Steps[Owner | None]:
    """Makes an id a person of its own; whose it was, None where it was nobody's. A repeat is safe."""
    (owner,) = yield operations.owners([namespaced_id])
    if owner is None:
        return None
    yield operations.unlink(namespaced_id, event_id)
    claim = Claim(namespaced_id, owner.id, owner.event_id)
    yield operations.drop_members([claim])
    (after,) = yield operations.owners([namespaced_id])
    if after is not None and after.id == owner.id:  # claimed again meanwhile, by an event that names both
        yield operations.add_members([claim])
    return owner


def owns(operations: Operations, namespaced_id: str, other: str) -> Steps[bool]:
    """Whether `other` belongs to this id, at any remove. Only users can, since only they are owners of their like."""
    if not (namespaced_id.startswith("user:") and other.startswith("user:")):
        return False
    passed = {other}
    for _ in range(STEPS_MAX):
        if other == namespaced_id:
            return True
        (owner,) = yield operations.owners([other])
        if owner is None or owner.id in passed:
            return False  # a ring of others is theirs to undo
        other = owner.id
        passed.add(other)
    return True
