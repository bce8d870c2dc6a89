"""A link holds from when it happened, by all events that say so, whenever and in whatever order they were received."""

from __future__ import annotations

import random
from itertools import chain
from typing import Any

import polars as pl
import pytest

from expressions.batch.act_times import READ, acts_in_own_time
from tests.chance import part_of

USERS, DEVICES = ["user:u1", "user:u2", "user:u3"], ["d1", "d2"]
TYPES = dict.fromkeys(READ, pl.String) | dict.fromkeys(("seq", "ts", "received_at"), pl.Int64) | {"shard": pl.Int32}


class Simulated:
    """Rows as the engine logs them; and by plain loops, when the links that no delete covers happened."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.now = 1_000
        self.owner: dict[str, str] = {}
        # What was said of each id since each time that it was given up or deleted: whose it is, and when that was.
        self._said: dict[str, list[list[tuple[str, int]]]] = {}
        # What was said of the id of each link, by seq.
        self._links: dict[int, list[tuple[str, int]]] = {}
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
        since = self._said.setdefault(id, [[]])
        if not is_imported or ts > self._deleted_ms.get(user, 0):  # else it is covered
            for said in since:
                said.append((user, ts))
        if id not in self.owner:
            self.owner[id] = user
            self._links[self.add("link", id, name=user, event_id=f"{event['event_id']}:link")] = since[-1]
        return str(event["event_id"])

    def unlink(self, id: str) -> None:
        """Gives an id up."""
        self.now += 10
        if self.owner.pop(id, None) is not None:
            self.add("unlink", id)
            self._said[id].append([])

    def delete(self, id: str) -> None:
        """Deletes a record: its own links are none any more, nor are those to it, nor what it said."""
        self.now += 10
        self.add("delete", id)
        self._deleted_ms[id] = self.now
        self._said.pop(id, None)
        for row in self.rows:
            if row["kind"] == "link" and id in (row["id"], row["name"]):
                self._links.pop(row["seq"], None)
        for said in chain(*self._said.values(), self._links.values()):
            said[:] = [one for one in said if one[0] != id]
        self.owner = {of: owner for of, owner in self.owner.items() if id not in (of, owner)}

    def wanted(self) -> dict[int, int]:
        """The own time of each link that no delete covers, by its seq."""
        rows = {row["seq"]: row for row in self.rows}
        return {
            seq: min((ts for user, ts in said if user == rows[seq]["name"]), default=rows[seq]["ts"])
            for seq, said in self._links.items()
        }

    def found(self) -> dict[int, int]:
        """The same by the module."""
        acts = acts_in_own_time(self.frame())
        return dict(acts.filter(pl.col("kind") == "link").select("seq", "own_ts").iter_rows())

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

    assert world.found() == {link: 300}


def test_a_link_whose_events_are_gone_is_as_old_as_its_row() -> None:
    """As where retention took them."""
    world = Simulated()
    link = world.add("link", "anon:d1", name="user:u1", event_id="gone:link", ts=990)

    assert world.found() == {link: 990}


def test_a_link_that_was_taken_back_was_never_in_force() -> None:
    """The unlink of one that was made in vain has the link's own time; that of an administrator has its receipt."""
    world = Simulated()
    event = world.say("user:u1", "d1", 500)
    world.add("unlink", "anon:d1", event_id=f"{event}:unlink")
    world.owner.clear()
    world.say("user:u2", "d1", 200)
    world.unlink("anon:d1")

    acts = acts_in_own_time(world.frame()).sort("seq").select("kind", "own_ts").rows()

    assert acts == [("link", 510), ("unlink", 510), ("link", 820), ("unlink", world.now)]
