"""Whose an id is: its owner, the ids that it lists as its members, when it was given up or deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from serving.ids import raw_id, shard_of
from serving.store import keys, logged_event
from serving.store.logged_event import Accepted
from serving.store.operations.operation import operation
from serving.store.operations.replies import each, nothing, refusal
from serving.store.operations.sharded import Sharded
from serving.store.requests import Request, command, shared
from serving.store.scripts import claim as claim_script
from serving.store.scripts import members, read_ties
from serving.store.scripts.claim import Claimed, Owner, owner_of
from serving.store.scripts.read_ties import Ties

__all__ = ["Claim", "LinkOperations", "Ties", "link_entry"]


class Claim(NamedTuple):
    """That an id belongs to another from now on: both namespaced, and the event that said so.

    `since_ms` is the receipt of that event: a link that was taken back since stays so (`serving.people.links`). A
    caller that only lists ids, or takes them off a list, leaves it out. `event_seq` is the event's seq where this call
    took it and it is no repeat, else 0; the event is in the log of the owner's shard.
    """

    id: str
    owner: str
    event_id: str
    since_ms: int = 0
    event_seq: int = 0


class LinkOperations(Sharded):
    """The operations on owners and members."""

    @operation
    def owners(self, ids: Sequence[str]) -> Request[list[Owner | None]]:
        """The owner of each of these ids, in their order; None of those that are nobody's."""
        commands = [shared("HGET", keys.record(shard_of(id_, self.shards), id_), keys.OWNER) for id_ in ids]
        return Request(commands, each(owner_of))

    @operation
    def members(self, ids: Sequence[str]) -> Request[dict[str, tuple[str, ...]]]:
        """The ids that each of these lists as its members; those that list none are left out."""
        commands = [command("HGET", keys.record(shard_of(id_, self.shards), id_), keys.MEMBERS) for id_ in ids]
        return Request(
            commands,
            lambda replies: {
                id_: members.members_of(field) for id_, field in zip(ids, replies, strict=True) if field is not None
            },
        )

    @operation
    def ties(self, ids: Sequence[str]) -> Request[dict[str, Ties]]:
        """What ties each of these ids to others, by id, whether or not its delete has been purged."""
        commands = [read_ties.command(shard_of(id_, self.shards), id_) for id_ in ids]
        return Request(commands, lambda replies: dict(zip(ids, map(read_ties.read, replies), strict=True)))

    @operation
    def add_members(self, claims: Sequence[Claim]) -> Request[list[bool]]:
        """Lists ids with those they are about to be claimed for; per claim whether there was room."""
        commands = [
            members.add_command(shard_of(claim.owner, self.shards), claim.owner, [claim.id]) for claim in claims
        ]
        return Request(commands, lambda replies: [added for reply in replies for added in members.read_added(reply)])

    @operation
    def list_members(self, claims: Sequence[Claim]) -> Request[None]:
        """Lists ids with those that own them already, whatever room there is."""
        commands = [
            members.add_command(shard_of(claim.owner, self.shards), claim.owner, [claim.id], members.ANY_NUMBER)
            for claim in claims
        ]
        return Request(commands, nothing)

    @operation
    def drop_members(self, claims: Sequence[Claim]) -> Request[None]:
        """Takes ids off the lists of ids that do not own them, or do not any more."""
        commands = [
            members.drop_command(shard_of(claim.owner, self.shards), claim.owner, [claim.id]) for claim in claims
        ]
        return Request(commands, nothing)

    @operation
    def link(self, claims: Sequence[Claim]) -> Request[list[Claimed]]:
        """Claims ids; what became of each claim, in order. Raises `ShardNotReady`, `StoreFull`; a repeat is safe."""
        shards = [shard_of(claim.id, self.shards) for claim in claims]
        commands = [
            claim_script.link_command(
                shard,
                claim.id,
                logged_event.encode(link_entry(claim)),
                claim.owner,
                claim.event_id,
                claim.since_ms,
                claim.event_seq > 0,
                self.limits.backlog_max,
            )
            for shard, claim in zip(shards, claims, strict=True)
        ]
        return Request(commands, lambda replies: list(map(_claimed, shards, replies)))

    @operation
    def unlink(self, namespaced_id: str, event_id: str) -> Request[Claimed]:
        """Makes an id nobody's. Raises `ShardNotReady`, `StoreFull`; a repeat is safe."""
        entry = logged_event.encode(Accepted(event_id, "unlink", namespaced_id))
        shard = shard_of(namespaced_id, self.shards)
        unlink = claim_script.unlink_command(shard, namespaced_id, entry, self.limits.backlog_max)
        return Request([unlink], lambda replies: _claimed(shard, replies[0]))

    @operation
    def take_back(self, links: Sequence[tuple[str, Owner]]) -> Request[None]:
        """Takes links back, (id, owner as the link made it): an id that has another owner by now keeps it.

        Raises `ShardNotReady`, `StoreFull`; a repeat is safe.
        """
        shards = [shard_of(id_, self.shards) for id_, _ in links]
        commands = [
            claim_script.take_back_command(
                shard,
                id_,
                logged_event.encode(Accepted(f"{owner.event_id}:unlink", "unlink", id_)),
                owner.since_ms,
                owner.seq,
                self.limits.backlog_max,
            )
            for shard, (id_, owner) in zip(shards, links, strict=True)
        ]

        def read(replies: list[Any]) -> None:
            for shard, reply in zip(shards, replies, strict=True):
                _claimed(shard, reply)

        return Request(commands, read)


def link_entry(claim: Claim) -> Accepted:
    """The log entry of a claim: an entry of the claimed id, whose `name` is the owner."""
    kind, value = raw_id(claim.owner)
    return Accepted(
        f"{claim.event_id}:link", "link", claim.id, user_id=value if kind == "user" else None, name=claim.owner
    )


def _claimed(shard: int, reply: Any) -> Claimed:
    claimed = claim_script.read(reply)
    if isinstance(claimed, str):
        raise refusal(shard, claimed)
    return claimed
