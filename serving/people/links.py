"""Links: which ids of an event belong together, and how that is written down and taken back.

An event that names several ids says that they are one person's: the strongest of them (user before email hash before
anonymous id) claims the others. A claim that is accepted becomes a link, which is written in three places: as an entry
in the log of the claimed id's shard; in the list of members of the owner's record, before that entry; and as the owner
of the claimed id's record, together with it. The first claim wins: a later user of the same device gets only events of
their own.

    claims of the events, owners read with the ingest  →  claims of ids that nobody owns
                                                       →  open claims, without cycles, of persons within their bounds
                                                       →  member lists with room  →  entry and owner

A claim dates from the receipt of its event, for a repeat from the receipt of the copy that counts. The link is made a
moment later, or much later where a call was cut off. A claim is open until an unlink of its id, or a delete of either
id, takes it back; only an open claim becomes a link. The delete of an owner is in another shard, so a link may be made
just after it. Such a link is not in force, in no execution (`gather`, `expressions.rules.deletes`), and whoever made it
takes it back. The drain takes it back for a caller that was cut off.

Nothing here talks to Redis: the steps are requests, which either store follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from serving.ids import Ids, namespaced, prefixed, raw_id
from serving.people.family import DEPTH_MAX, IDS_MAX, Excess, look_around
from serving.people.lists import settle_lists, tidy_lists
from serving.store.logged_event import Accepted, LogEntry
from serving.store.operations.links import Claim, Ties
from serving.store.operations.operations import Operations
from serving.store.requests import Steps
from serving.store.scripts.claim import Claimed, Owner
from serving.store.scripts.members import MEMBERS_MAX

Why: TypeAlias = Literal["full", "taken"] | Excess


class RefusedClaim(NamedTuple):
    """A claim that became no link, and why: the owner has no room, another owns the id, the id owns the owner, or the
    person would be too large (`people.family`)."""

    claim: Claim
    why: Why

    @property
    def message(self) -> str:
        """The text for the caller. It never says who owns the id."""
        id, owner = self.claim.id, self.claim.owner
        match self.why:
            case "full":
                return f"{id} was not linked to {owner}, which has {MEMBERS_MAX} linked ids already: unlink one of them"
            case "taken":
                return f"{id} was not linked to {owner}: it is linked to another user, unlink it first"
            case "cycle":
                return f"{id} was not linked to {owner}: {owner} belongs to {id} already, alias it the other way round"
            case "deep":
                return (
                    f"{id} was not linked to {owner}: it would be more than {DEPTH_MAX} links away from the person's "
                    "own id, alias it to that one"
                )
            case "crowded":
                return (
                    f"{id} was not linked to {owner}: the person would have more than {IDS_MAX} ids, "
                    "unlink some of them"
                )


def claims_of(event: Accepted) -> list[Claim]:
    """The claims of an event: for each id that it names beside the strongest one. None of an event with one id."""
    if event.kind == "alias":
        if event.user_id is None or event.anonymous_id is None:
            return []
        owner = namespaced("user", event.user_id)
        return [Claim(id, owner, event.event_id) for id in previous_ids(event.anonymous_id) if id != owner]
    if event.kind == "link" or (event.anonymous_id is None and event.email_hash is None):
        return []
    owner, *others = Ids(event.user_id, event.anonymous_id, event.email_hash).strongest_first
    return [Claim(id, owner, event.event_id) for id in others]


def previous_ids(previous: str) -> list[str]:
    """The records that an alias' previous id may mean: the one that its prefix names, else the device and the user.

    Both are claimed, whether or not either was seen before, so that it does not matter which came first.
    """
    record = prefixed(previous)
    if record is not None:
        return [record]
    return [namespaced("anon", previous), namespaced("user", previous)]


def distinct_claims(events: Iterable[Accepted]) -> list[Claim]:
    """The claims of some events, each pair of ids once, in order."""
    claims: dict[tuple[str, str], Claim] = {}
    for event in events:
        if event.anonymous_id is not None or event.email_hash is not None:
            for claim in claims_of(event):
                claims.setdefault((claim.id, claim.owner), claim)
    return list(claims.values())


def claims_with_receipts(
    claims: Sequence[Claim], events: Sequence[Accepted], came_ms: Sequence[int], seqs: Sequence[int] | None = None
) -> list[Claim]:
    """The same claims, each dated by the receipt of its event, in UTC ms; where several say the same, by the newest.

    `came_ms` are the receipts of `events`, and `seqs` their seqs: 0 of a repeat.
    """
    newest: dict[tuple[str, str], Claim] = {}
    for event, ms, seq in zip(events, came_ms, seqs or [0] * len(events), strict=True):
        for claim in claims_of(event):
            event_seq = seq if event.id == claim.owner else 0
            _keep_newest(newest, claim._replace(since_ms=ms, event_seq=event_seq))
    return [newest[claim.id, claim.owner] for claim in claims]


def _keep_newest(newest: dict[tuple[str, str], Claim], claim: Claim) -> None:
    known = newest.setdefault((claim.id, claim.owner), claim)
    if (claim.since_ms, claim.event_seq) > (known.since_ms, known.event_seq):
        newest[claim.id, claim.owner] = claim


def link_claims(
    operations: Operations, claims: Sequence[Claim], owners: Sequence[Owner | None]
) -> Steps[list[RefusedClaim]]:
    """Makes links of claims; returns the claims that were refused. `owners` owned the claimed ids a moment ago.

    A claim that was taken back meanwhile becomes no link and is not refused: the caller hears nothing of it.
    """
    refused = [
        RefusedClaim(claim, "taken")
        for claim, owner in zip(claims, owners, strict=True)
        if owner is not None and owner.id != claim.owner
    ]
    unowned = [claim for claim, owner in zip(claims, owners, strict=True) if owner is None]
    ids = dict.fromkeys(id for claim in unowned for id in (claim.id, claim.owner))
    family = yield from look_around(operations, ids)
    wanted = []
    for claim in map(family.dated, unowned):
        if family.is_open(claim):
            excess = family.excess(claim)
            if excess is not None:
                refused.append(RefusedClaim(claim, excess))
            else:
                family.link(claim)
                wanted.append(claim)
    if not wanted:
        return refused
    room = yield from _listed(operations, wanted)
    refused += [RefusedClaim(claim, "full") for claim, has_room in zip(wanted, room, strict=True) if not has_room]
    wanted = [claim for claim, has_room in zip(wanted, room, strict=True) if has_room]
    claimed: list[Claimed] = yield operations.link(wanted)
    made: dict[Claim, Owner] = {}
    lost = []
    for claim, result in zip(wanted, claimed, strict=True):
        if result.is_done:
            made[claim] = Owner(claim.owner, result.seq, claim.since_ms, claim.event_id)
        elif result.owner is None or result.owner.id != claim.owner:
            lost.append(claim)
            if result.owner is not None:
                refused.append(RefusedClaim(claim, "taken"))
    vain = yield from _vain(operations, made)
    if vain:
        yield operations.take_back([(claim.id, made[claim]) for claim in vain])
        lost += vain
        refused += [RefusedClaim(claim, excess) for claim, excess in vain.items() if excess is not None]
    yield from settle_lists(operations, lost)
    return refused


def _vain(operations: Operations, made: Mapping[Claim, Owner]) -> Steps[dict[Claim, Excess | None]]:
    """The links that were made in vain, the last first, and what forbids them; None where it is their owner's delete.

    Others may have made links meanwhile, or deleted an owner. Two aliases at once, each the other way round, may both
    have found no cycle. Where one call made several links the last ones give way, as if they had come one after the
    other.
    """
    family = yield from look_around(operations, dict.fromkeys(claim.owner for claim in made))
    vain: dict[Claim, Excess | None] = {}
    for claim, link in reversed(list(made.items())):
        is_in_force = family.is_in_force(link)
        excess = family.excess(claim) if is_in_force and family.may_grow_meanwhile(claim) else None
        if excess is not None or not is_in_force:
            vain[claim] = excess
            family.unlink(claim)
    return vain


def _listed(operations: Operations, claims: Sequence[Claim]) -> Steps[list[bool]]:
    """Lists the claimed ids with those who claim them; per claim whether there was room.

    A caller that was cut off may have left an id on a list that is full by now.
    """
    room: list[bool] = yield operations.add_members(claims)
    if not all(room):
        full = [claim for claim, has_room in zip(claims, room, strict=True) if not has_room]
        yield from tidy_lists(operations, list(dict.fromkeys(claim.owner for claim in full)))
        has_room_now = dict(zip(full, (yield operations.add_members(full)), strict=True))
        room = [has_room or has_room_now[claim] for claim, has_room in zip(claims, room, strict=True)]
    return room


def _orphaned(operations: Operations, links: Iterable[Owner]) -> Steps[set[Owner]]:
    """Those of some links whose owner has been deleted since they were claimed."""
    ids = list(dict.fromkeys(link.id for link in links))
    if not ids:
        return set()
    ties: dict[str, Ties] = yield operations.ties(ids)
    return {link for link in links if link.since_ms <= ties[link.id].deleted_ms}


def complete_links(operations: Operations, entries: Iterable[LogEntry]) -> Steps[None]:
    """Completes the links of events in the log, for callers that were cut off between an event and its links.

    A claim that was not written is written, unless it was taken back since. A link to an owner who was deleted since it
    was claimed is taken back, and so is the newest link of a ring. The list of each owner that is named has the ids
    that are the owner's, and no other of those that are named. Nothing else changes.
    """
    newest: dict[tuple[str, str], Claim] = {}
    for entry in entries:
        event = entry.event
        if event.kind == "link" and event.name is not None:
            said_by = event.event_id.removesuffix(":link")
            _keep_newest(newest, Claim(event.id, event.name, said_by, entry.ts_ms))
        for claim in claims_of(event):
            _keep_newest(newest, claim._replace(since_ms=entry.received_ms))
    claims = list(newest.values())
    if not claims:
        return
    owners: list[Owner | None] = yield operations.owners([claim.id for claim in claims])
    orphaned = yield from _orphaned(operations, [owner for owner in owners if owner is not None])
    if orphaned:
        links = {claim.id: owner for claim, owner in zip(claims, owners, strict=True) if owner in orphaned}
        yield operations.take_back(list(links.items()))
        owners = yield operations.owners([claim.id for claim in claims])
    yield from link_claims(operations, claims, owners)
    yield from _open_rings(operations, claims)
    yield from settle_lists(operations, claims)


def _open_rings(operations: Operations, claims: Iterable[Claim]) -> Steps[None]:
    """Takes back the newest link of each ring that these claims may have closed.

    Two aliases at once, each the other way round, were both written, and their callers were cut off before they looked
    again. Only an alias gives a user an owner, so a ring has users alone.
    """
    aliases = [claim for claim in claims if raw_id(claim.id).kind == "user"]
    if not aliases:
        return
    owners: list[Owner | None] = yield operations.owners([claim.id for claim in aliases])
    links = {
        claim: owner
        for claim, owner in zip(aliases, owners, strict=True)
        if owner is not None and owner.id == claim.owner
    }
    family = yield from look_around(operations, dict.fromkeys(claim.owner for claim in links))
    closing = []
    for claim, owner in sorted(links.items(), key=lambda link: link[1].since_ms, reverse=True):
        if family.is_in_force(owner) and family.excess(claim) == "cycle":
            closing.append((claim.id, owner))
            family.unlink(claim)
    if closing:
        yield operations.take_back(closing)


def unlink_id(operations: Operations, namespaced_id: str, event_id: str) -> Steps[Owner | None]:
    """Makes an id a person of its own; returns the owner that it had, None where it had none. A repeat is safe."""
    (owner,) = yield operations.owners([namespaced_id])
    if owner is None:
        return None
    yield operations.unlink(namespaced_id, event_id)
    yield from settle_lists(operations, [Claim(namespaced_id, owner.id, owner.event_id)])
    return owner
