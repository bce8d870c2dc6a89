"""A link holds from when it happened, by all events that say so, whenever and in whatever order they were received."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any, NamedTuple

import polars as pl
import pytest

from expressions.batch.act_times import READ, acts_in_own_time
from tests.chance import part_of

USERS, DEVICES = ["user:u1", "user:u2", "user:u3"], ["d1", "d2"]
TYPES = dict.fromkeys(READ, pl.String) | dict.fromkeys(("seq", "ts", "received_at"), pl.Int64) | {"shard": pl.Int32}


class Saying(NamedTuple):
    """An event that says whose an id is."""

    user: str
    ts: int
    is_imported: bool


class Simulated:
    """Rows as the engine logs them; and by plain loops, when the links that no delete covers happened."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.now = 1_000
        self.owner: dict[str, str] = {}
        # Of each id, each time that it was given up, and what was said since of after it.
        self._said: dict[str, list[tuple[int, list[Saying]]]] = {}
        # What was said of the id of each link, by seq.
        self._links: dict[int, list[Saying]] = {}
        self._deleted_ms: dict[str, int] = {}

    def add(self, kind: str, id: str, **more: Any) -> int:
        """Logs a row; gives its seq."""
        seq = len(self.rows) + 1
        row: dict[str, Any] = {"shard": 0, "seq": seq, "event_id": f"e{seq}", "kind": kind, "id": id}
        self.rows.append(row | {"ts": self.now, "received_at": self.now} | more)
        return seq

    def say(self, user: str, device: str, late_ms: int, kind: str = "track", is_imported: bool = False) -> str:
        """An event that names a user and a device; gives its id. It links a device that nobody owns."""
        self.now += 10
        ts = self.now - late_ms
        event = self.rows[self.add(kind, user, anonymous_id=device, ts=ts) - 1]
        if is_imported:
            event["seq"] = None
        id = device if ":" in device else f"anon:{device}"
        since = self._said.setdefault(id, [(0, [])])
        if not is_imported or ts > self._deleted_ms.get(user, 0):  # else it is covered
            for unlinked_ms, said in since:
                if ts > unlinked_ms:
                    said.append(Saying(user, ts, is_imported))
        if id not in self.owner:
            self.owner[id] = user
            self._links[self.add("link", id, name=user, event_id=f"{event['event_id']}:link")] = since[-1][1]
        return str(event["event_id"])

    def unlink(self, id: str) -> None:
        """Gives an id up."""
        self.now += 10
        if self.owner.pop(id, None) is not None:
            self.add("unlink", id)
            self._said[id].append((self.now, []))

    def delete(self, id: str) -> None:
        """Deletes a record: its own links are none any more, nor are those to it, nor what it said."""
        self.now += 10
        self.add("delete", id)
        self._deleted_ms[id] = self.now
        self._said.pop(id, None)
        for row in self.rows:
            if row["kind"] == "link" and id in (row["id"], row["name"]):
                self._links.pop(row["seq"], None)
        since = chain.from_iterable(self._said.values())
        for said in chain((said for _, said in since), self._links.values()):
            said[:] = [one for one in said if one.user != id]
        self.owner = {of: owner for of, owner in self.owner.items() if id not in (of, owner)}

    def wanted(self) -> dict[int, tuple[int, int]]:
        """Since when each link that no delete covers is known, by event time and as received, by its seq."""
        rows = {row["seq"]: row for row in self.rows}
        times = {}
        for seq, said in self._links.items():
            own = [one for one in said if one.user == rows[seq]["name"]]
            own_ts = min((one.ts for one in own), default=rows[seq]["ts"])
            times[seq] = own_ts, min([rows[seq]["received_at"], *(one.ts for one in own if one.is_imported)])
        return times

    def found(self) -> dict[int, tuple[int, int]]:
        """The same by the module."""
        links = acts_in_own_time(self.frame()).filter(pl.col("kind") == "link")
        return {
            seq: (own, received) for seq, own, received in links.select("seq", "event_time", "received").iter_rows()
        }

    def frame(self) -> pl.LazyFrame:
        """The rows, in another order."""
        return pl.DataFrame(self.rows, schema=TYPES).reverse().lazy()


@pytest.mark.parametrize("seed", range(part_of(200)))
def test_a_link_is_as_old_as_the_oldest_event_that_says_it(seed: int) -> None:
    """Late, repeated and imported events, unlinks and deletes by chance: each link's time is that of plain loops."""
    chance, world = random.Random(seed), Simulated()
    for _ in range(40):
        user, device = chance.choice(USERS), chance.choice(DEVICES)
        match chance.choices(["say", "import", "repeat", "alias", "unlink", "delete"], [12, 2, 3, 3, 3, 0.7])[0]:
            case "say":
                world.say(user, device, chance.choice([0, 5, 100, 500]))
            case "import":
                world.say(user, device, chance.choice([100, 900]), is_imported=True)
            case "repeat":
                # A copy that does not count says nothing, whatever time it has.
                said = [row for row in world.rows if row["kind"] == "track" and row["seq"] is not None]
                if said:
                    world.now += 10
                    copied = chance.choice(said)
                    deletes = [
                        row["seq"] for row in world.rows if row["kind"] == "delete" and row["id"] == copied["id"]
                    ]
                    if copied["seq"] > max(deletes, default=0):
                        more = {"event_id": copied["event_id"], "anonymous_id": copied["anonymous_id"]}
                        world.add("track", copied["id"], **more, ts=world.now - 950)
            case "alias":
                world.say(user, f"anon:{device}", chance.choice([0, 100, 500]), "alias")
            case "unlink":
                world.unlink(f"anon:{device}")
            case "delete":
                world.delete(chance.choice([user, f"anon:{device}"]))

    assert world.found() == world.wanted()


def test_a_link_by_an_emails_hash_is_as_old_as_the_event_that_made_it() -> None:
    """The rows of events say nothing of the hash, but the link says which event made it."""
    world = Simulated()
    world.add("identify", "user:u1", ts=300, event_id="login")
    link = world.add("link", "email:9c", name="user:u1", event_id="login:link")

    assert world.found() == {link: (300, 1_000)}

    world.rows[0]["seq"] = None  # it came with a file

    assert world.found() == {link: (300, 300)}


def test_a_link_whose_events_are_gone_is_as_old_as_its_row() -> None:
    """As where retention took them."""
    world = Simulated()
    link = world.add("link", "anon:d1", name="user:u1", event_id="gone:link", ts=990)

    assert world.found() == {link: (990, 1_000)}


@pytest.mark.parametrize("id", ["anon:d1", "email:9c"])
def test_an_unlink_ends_what_was_linked_before_its_time(id: str) -> None:
    """A late or imported event of before it says whose the id was before, and not that it was so again."""
    for seq in (1, None):
        world = Simulated()
        device = id.removeprefix("anon:") if id.startswith("anon:") else None
        world.add("track", "user:u1", ts=300, event_id="first", anonymous_id=device)
        before = world.add("link", id, name="user:u1", event_id="first:link")
        world.add("unlink", id, event_id="u", ts=2_000, received_at=2_000)
        world.add("track", "user:u1", ts=200, received_at=3_000, event_id="late", anonymous_id=device, seq=seq and 4)
        again = world.add("link", id, name="user:u1", event_id="late:link", ts=3_000, received_at=3_000)

        found = world.found()

        assert found[again] == (3_000, 3_000)
        assert found[before][0] == (200 if device else 300)


def test_a_link_that_was_taken_back_was_never_in_force() -> None:
    """The unlink of one that was made in vain has the link's own time; that of an administrator has its receipt."""
    world = Simulated()
    event = world.say("user:u1", "d1", 500)
    world.add("unlink", "anon:d1", event_id=f"{event}:unlink")
    world.owner.clear()
    world.say("user:u2", "d1", 200)
    world.unlink("anon:d1")

    acts = acts_in_own_time(world.frame()).sort("seq").select("kind", "event_time", "received").rows()

    assert acts == [
        ("link", 510, 1_010),
        ("unlink", 510, 1_010),
        ("link", 820, 1_020),
        ("unlink", world.now, world.now),
    ]


def test_an_imported_link_that_was_taken_back_was_never_in_force() -> None:
    """As received, too: it would be in force from its own time until its import."""
    world = Simulated()
    event = world.say("user:u1", "d1", 500, is_imported=True)
    world.add("unlink", "anon:d1", event_id=f"{event}:unlink")

    assert acts_in_own_time(world.frame())["received"].to_list() == [510, 510]
