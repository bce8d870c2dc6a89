"""The world of the protocol with more about whose ids are whose: its own steps, so other walks stay as they are.

Two calls that link, unlink or delete come at one moment, a request of one and a request of the other, in any order.
Their entries are read from the log, and each must be right where it stands: a claim is of an id that is nobody's, an
unlink of one that is somebody's; what was given up since it was claimed stays so; in the end there is no ring.
A call may be cut off between its event and its links, or after any of its commands; then everybody is read, and the
drain completes what was begun. Once an owner is deleted, all that belongs to it is. In the end no link stands to an
owner who was deleted since it was claimed, and each list names its owner's ids and no others, but for those that killed
callers claimed or gave up. Killed callers may leave a ring; the drain takes one of its links back. One user has so many
ids from the beginning that there is room for one more.

A drain repeats what events say of links, so it makes one that was cut off, and one that was refused for want of room or
for a ring when that is over. What it makes is read from the log alike.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from cli.embedded_redis import EmbeddedRedis
from serving.ids import raw_id
from serving.people.deletion import complete_deletes, delete_person
from serving.people.links import claims_of, complete_links, link_claims, unlink_id
from serving.store.logged_event import Accepted, LogEntry
from serving.store.operations.links import Claim
from serving.store.requests import Steps
from serving.store.scripts.members import MEMBERS_MAX
from tests.properties.at_once import at_once
from tests.properties.protocol_truth import DEVICES, USERS
from tests.properties.protocol_walk import STEPS, Step
from tests.properties.protocol_world import ClaimTimes, World

ROOM = 1
#: So many events at the end are those that are repeated.
RECENT = 20
#: A call: its kind; the user who claims, or the event that is repeated; and the id that is claimed or given up.
Act: TypeAlias = tuple[str, int, int]


class LinkWorld(World):
    """The world, in which the first user has many devices."""

    def __init__(self, server: EmbeddedRedis, folder: Path, light_events_max: int = 256) -> None:
        self.unsettled: set[tuple[str, str]] = set()
        super().__init__(server, folder, light_events_max)
        user = raw_id(USERS[0]).value
        events = [
            Accepted(f"crowd{number}", "track", USERS[0], user, f"crowd{number}", "view", properties={"n": -1})
            for number in range(MEMBERS_MAX - ROOM)
        ]
        self.sent += events
        self.ingest(events)

    def link_at_once(self, first: Act, second: Act, order: Sequence[int]) -> None:
        """Two calls that say whose ids are, at one moment; then what a drain does about their links."""
        if self.is_open:
            self.at_once((first, second), order)

    def link_and_die(self, first: Act, second: Act, order: Sequence[int], commands: int) -> None:
        """The same two calls, whose processes end after so many commands."""
        if self.is_open:
            self.at_once((first, second), order, commands)

    def delete_and_die(self, whose: int, commands: int) -> None:
        """A delete whose process ends after so many commands. The drain deletes the rest of whoever is deleted."""
        if not self.is_open:
            return
        above = {id_: self.people.above(id_)[1:] for id_ in self.people.owner_of}
        self.at_once((("delete", whose, whose),), (0,), commands)
        # A new tombstone of an owner, and each id that was theirs is nobody's, by a tombstone of its own.
        for id_, owners in above.items():
            if any(self.deleted_ms.get(owner) == self.now_ms for owner in owners):
                assert self.deleted_ms.get(id_) == self.now_ms, f"{id_} was left behind by the delete of {owners}"
        self.tick(1)  # so that tombstones of other steps are not taken for this one's

    def at_once(self, acts: Sequence[Act], order: Sequence[int], commands: int | None = None) -> None:
        """Calls at one moment, perhaps killed, and what a drain does about them."""
        self.tick(1)
        claimed_ms: ClaimTimes = {}
        callers = [self.caller(act, number, claimed_ms) for number, act in enumerate(acts)]
        self.on_the_clock()
        before, owned = self.seqs(), self.people.owner_of.items()
        at_once(self.store, callers, order, commands)
        entries = self.noted(before, claimed_ms, may_leave_a_ring=commands is not None)
        self.check()
        while entries:
            before = self.seqs()
            self.store.follow(complete_deletes(self.store.operations, entries))
            self.store.follow(complete_links(self.store.operations, entries))
            entries = self.noted(before, claimed_ms)
        if commands is not None:
            self.unsettled |= claimed_ms.keys() | owned
        self.check_lists()

    def check_lists(self) -> None:
        """No link stands that is not in force, and each list has the owner's ids and no others."""
        ids = [*self.ids, *{claim.id for event in self.sent for claim in claims_of(event)}]
        owners = self.store.owners(ids)
        assert {id_: owner.id for id_, owner in zip(ids, owners, strict=True) if owner} == self.people.owner_of
        for owner, listed in self.store.members(self.ids).items():
            theirs = {id_ for id_, of in self.people.owner_of.items() if of == owner}
            others = {id_ for id_ in listed if id_ not in theirs and (id_, owner) not in self.unsettled}
            assert theirs <= set(listed) and not others, f"{owner} lists {set(listed)}, and owns {theirs}"

    def cut_off(self, who: int, claimed: int) -> None:
        """A call whose event is taken, and whose process ends before it makes the link that the event says."""
        event = self.event_of("together", who, claimed)
        assert event is not None
        self.taken([event])

    def drain(self, rows: int, killed_at: str | None) -> None:
        """One round, and the links that it made."""
        before = self.seqs()
        super().drain(rows, killed_at)
        self.noted(before)

    def drain_twice(self, rows: int, paused_at: str) -> None:
        """Two drains at once, and the links that they made."""
        before = self.seqs()
        super().drain_twice(rows, paused_at)
        self.noted(before)

    def seqs(self) -> dict[int, int]:
        """The last seq of each shard's log."""
        return {state.shard: state.seq for state in self.store.shard_states()}

    def noted(
        self, before: Mapping[int, int], claimed_ms: ClaimTimes | None = None, may_leave_a_ring: bool = False
    ) -> list[LogEntry]:
        """The entries since then about links, each of which must be right where it stands; noted in the truth.

        `claimed_ms` has when their claims were made, where that is not the receipt of their events.
        """
        entries = [
            entry
            for shard, seq in before.items()
            for entry in self.store.read_log(shard, seq, 1_000)
            if entry.event.kind in ("link", "unlink", "delete")
        ]
        for entry in entries:
            id_, owner = entry.event.id, entry.event.name
            if entry.event.kind == "delete":
                self.forget(id_, entry.received_ms)
            elif entry.event.kind == "unlink":
                assert self.people.unlink(id_), f"{id_} was nobody's and was unlinked"
                self.unlinked_ms[id_] = entry.ts_ms
            else:
                assert owner is not None
                pair_ms = (claimed_ms or {}).get((id_, owner))
                made_ms = max(pair_ms) if pair_ms else self.claimed_ms(entry.event.event_id)
                assert entry.ts_ms == made_ms, f"{id_} was claimed for {owner} at {made_ms}, not {entry.ts_ms}"
                assert id_ not in self.people.links, f"{id_} was claimed for {owner}, and is another's"
                ended_ms = max(self.deleted_ms.get(id_, -1), self.unlinked_ms.get(id_, -1))
                assert made_ms > ended_ms, f"{id_} is {owner}'s again, by a repeat"
                self.people.links[id_] = owner, made_ms
        assert may_leave_a_ring or not self.people.has_ring(), f"ids own each other: {self.people.owner_of}"
        return entries

    def claimed_ms(self, link: str) -> int:
        """The receipt of the event that a link's entry names."""
        return max(self.came_ms(event) for event in self.sent if f"{event.event_id}:link" == link)

    def caller(self, act: Act, number: int, claimed_ms: ClaimTimes) -> Steps[Any]:
        """The steps of a call about links, when its event was taken. Notes what it claims, and when that was made."""
        kind, which, other = act
        if kind in ("unlink", "delete"):
            claimed = DEVICES[other % len(DEVICES)] if which % 2 else USERS[other % len(USERS)]
            call = unlink_id if kind == "unlink" else delete_person
            return call(self.store.operations, claimed, f"{kind}{len(self.sent)}-{number}")
        if kind == "retry":  # of a call that was cut off before its links
            self.cut_off(which, other)
            claims, new_ms = self.taken(self.sent[-1:])
        else:
            claims, new_ms = self.taken([event] if (event := self.event_of(kind, which, other)) else [])
        for pair, times in new_ms.items():
            claimed_ms.setdefault(pair, []).extend(times)
        return self.claiming(claims)

    def event_of(self, kind: str, which: int, other: int) -> Accepted | None:
        """A new event of this kind, or one that came before; None where there is nothing to say."""
        number = len(self.sent)
        user = raw_id(USERS[which % len(USERS)]).value
        if kind == "again":
            ids = (DEVICES[other % len(DEVICES)], USERS[other % len(USERS)])
            events = [event for event in self.sent[-RECENT:] if any(claim.id in ids for claim in claims_of(event))]
            events = [event for event in events if self.may_come_again(event)]
            return events[which % len(events)] if events else None
        if kind == "alias":
            previous = USERS[other % len(USERS)]
            if previous == USERS[which % len(USERS)]:
                return None
            event = Accepted(f"e{number}", "alias", USERS[which % len(USERS)], user, previous)
        else:
            device = raw_id(DEVICES[other % len(DEVICES)]).value
            event = Accepted(
                f"e{number}", "track", USERS[which % len(USERS)], user, device, "view", properties={"n": number}
            )
        self.sent.append(event)
        return event

    def claiming(self, claims: Sequence[Claim]) -> Steps[Any]:
        """The links of a call, with the owners as they were when its event was taken."""
        owners = self.store.owners([claim.id for claim in claims])
        return link_claims(self.store.operations, claims, owners)


def some_acts(chance: random.Random) -> tuple[Act, Act, list[int]]:
    """Two calls that say whose ids are, often of the same ones, or the other way round; and whose turn is when."""

    def act(claimed: int) -> Act:
        kinds = ("together", "together", "alias", "alias", "again", "retry", "unlink", "unlink", "delete")
        return chance.choice(kinds), chance.randrange(60), claimed

    first = act(chance.randrange(6))
    second = act(first[2] if chance.random() < 0.5 else chance.randrange(6))
    if first[0] == "alias" and chance.random() < 0.5:
        second = "alias", first[2], first[1] % 6
    elif first[0] in ("together", "alias") and chance.random() < 0.25:
        second = "delete", 0, first[1]  # of who claims
    elif first[0] == "retry" and chance.random() < 0.75:
        second = "delete", 1, first[2]
    return first, second, [chance.randrange(2) for _ in range(16)]


LINK_STEPS: dict[str, Step] = STEPS | {
    "link_at_once": (12, some_acts),
    "link_and_die": (4, lambda r: (*some_acts(r), r.randrange(1, 16))),
    "delete_and_die": (4, lambda r: (r.randrange(6), r.randrange(1, 9))),
    "cut_off": (4, lambda r: (r.randrange(3), r.randrange(2))),
}
