"""A large record is read again only where it has changed: what is at hand is what a whole read would give."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from serving.ids import record_of
from serving.people.deletion import delete_person
from serving.people.gather import gather
from serving.people.links import unlink_id
from serving.people.person import DecodedBases, person
from serving.store import records
from serving.store.records import Reading, Record
from tests.pipelines.world import World, purchase

IDS = ("ada", "bob", "anon:phone", "anon:laptop")


def read_again(world: World, id: str, bases: DecodedBases) -> tuple[Reading, list[str]]:
    """A person, read with what is at hand, which is then decoded; and the commands that were sent."""
    sent: list[str] = []
    steps = gather(world.store.operations, record_of(id), bases.large)
    try:
        request = next(steps)
        while True:
            sent += [str(command.words[0]) for command in request.commands]
            request = steps.send(world.store.ask(request))
    except StopIteration as stop:
        reading: Reading = stop.value
    for record in reading.records:
        bases.parts(record)
    return reading, sent


def in_order(reading: Reading) -> list[Record]:
    """The records, their tails in one order."""
    return [record._replace(tail=sorted(record.tail)) for record in reading.records]


@pytest.fixture
def world(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A system in which three recent events make a record large."""
    monkeypatch.setattr(records, "TAIL_ENTRIES", 2)
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum_30d"})
    return world


def test_a_large_record_that_has_not_changed_is_not_read_again(world: World) -> None:
    """Redis tells its mark, in the time of a small record; a small one is read whole, in one round trip."""
    bases = DecodedBases()
    world.ingest([*(purchase("ada", number) for number in range(5)), purchase("bob", 1)])

    first, again = read_again(world, "ada", bases), read_again(world, "ada", bases)
    small = [read_again(world, "bob", bases)[1] for _ in range(2)]

    assert "HGETALL" in first[1] and "HGETALL" not in again[1]
    assert again[0].records == first[0].records and again[0].clock_ms >= first[0].clock_ms
    assert again[0].catalogue_version == world.catalogue.version
    assert small == [["HGETALL", "TIME", "GET"]] * 2
    world.ingest([purchase("ada", 6)])
    changed, sent = read_again(world, "ada", bases)
    assert "HGETALL" in sent and len(changed.records[0].tail) == 6


@pytest.mark.parametrize("seed", range(4))
def test_what_is_at_hand_is_what_a_whole_read_gives(world: World, seed: int) -> None:
    """After any events, repeats, links, unlinks, deletes and rebuilds, for every id of every person."""
    random, bases = Random(seed), DecodedBases()
    kept = 0
    for number in range(40):
        id = random.choice(IDS)
        match random.choice(("events", "events", "events", "repeat", "link", "unlink", "delete", "rebuild", "none")):
            case "events":
                named = {"anonymousId": id[5:]} if id.startswith("anon:") else {"userId": id}
                world.ingest(
                    {"type": "track", "event": "purchase", "messageId": f"{number}-{n}", "properties": {"amount": n}}
                    | named
                    for n in range(4)
                )
            case "repeat":
                world.ingest([purchase("ada", 1)])
            case "link":
                world.ingest([purchase("ada", number, anonymousId=random.choice(("phone", "laptop")))])
            case "unlink":
                world.store.follow(unlink_id(world.store.operations, "anon:phone", f"unlink-{number}"))
            case "delete":
                world.store.follow(delete_person(world.store.operations, record_of(id), f"delete-{number}"))
            case "rebuild":
                world.drain().step()
                world.rebuild()
        for asked in IDS:
            reading, sent = read_again(world, asked, bases)
            whole = world.store.follow(gather(world.store.operations, record_of(asked)))
            kept += "HMGET" in sent and "HGETALL" not in sent
            assert in_order(reading) == in_order(whole), (number, asked)
            keys = list(world.catalogue.definitions)
            values = [
                person(each._replace(clock_ms=whole.clock_ms), world.catalogue, known).answers(keys).values
                for each, known in ((reading, bases), (whole, DecodedBases()))
            ]
            assert values[0] == values[1], (number, asked)
    assert kept > 5
