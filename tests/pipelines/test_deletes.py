"""A deleted person stays deleted, whatever is going on: rebuilds, recoveries, imports, retries."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from expressions.batch.counting import counted
from lake.schemas import MEMBERSHIPS, TRAITS
from pipelines import rebuild as rebuilding
from pipelines.importing.import_file import import_file
from pipelines.purge.purge_now import purge_now
from pipelines.recover import recover
from serving.history import latest_undeleted
from serving.ingest.accept import Limits, accept
from serving.ingest.projection import tail_payload
from serving.people.deletion import delete_person
from serving.people.links import claims_with_receipts, distinct_claims, link_claims, unlink_id
from serving.store.logged_event import Accepted
from serving.store.operations.events import Arrival
from serving.store.requests import Steps
from serving.store.scripts.claim import CLAIM
from tests.pipelines.test_links import check, in_batch, lives_in, new_world, visit
from tests.pipelines.world import World, purchase
from tests.properties.at_once import at_once
from tests.waiting import wait_until

NOBODY = {"visits": 0, "pages": (), "city": None}


def delete(world: World, id: str, event_id: str = "gone") -> dict[str, int]:
    """Deletes a person by any of their ids."""
    return world.store.follow(delete_person(world.store.operations, id, event_id))


def known(world: World, *ids: str) -> list[dict[str, Any]]:
    """The live values of each id's person."""
    return [world.values(id) for id in ids]


@pytest.mark.parametrize("by", ["user:ann", "anon:d1", "email:e1"])
def test_a_delete_by_any_id_takes_the_whole_person_at_once(url: str, tmp_path: Path, by: str) -> None:
    """Every id is empty with the next read, drained and rebuilt or not; others keep what they have."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, anonymousId="d1"), lives_in("Oslo", userId="ann", anonymousId="d1")])
    world.ingest([visit(2, userId="ann", emailHash="e1"), visit(3, userId="bob")])
    world.drain().step()
    world.rebuild()
    world.ingest([visit(4, userId="ann")])

    assert sorted(delete(world, by)) == ["anon:d1", "email:e1", "user:ann"]
    ids = ("user:ann", "anon:d1", "email:e1")
    assert known(world, *ids) == [NOBODY] * 3
    check(world, [*ids, "user:bob"])
    world.rebuild()
    assert known(world, *ids) == [NOBODY] * 3
    assert list(in_batch(world)) == ["user:bob"]


def test_tables_of_an_older_rebuild_do_not_show_who_was_deleted_since(url: str, tmp_path: Path) -> None:
    """Traits and memberships of the lake leave the person out as soon as the delete is drained."""
    world = new_world(url, tmp_path)
    world.define("segment", {"keen": "events.visit.count > 0"})
    world.ingest([visit(1, userId="ann"), visit(1, userId="bob")])
    world.drain().step()
    world.rebuild()
    delete(world, "user:ann")
    world.drain().step()

    assert latest_undeleted(world.lake, MEMBERSHIPS).collect()["id"].to_list() == ["user:bob"]
    assert set(latest_undeleted(world.lake, TRAITS).collect()["id"]) == {"user:bob"}
    world.ingest([visit(2, userId="ann")])
    world.drain().step()
    world.rebuild()
    assert set(latest_undeleted(world.lake, MEMBERSHIPS).collect()["id"]) == {"user:ann", "user:bob"}


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("step", ["reading", "publishing", "sweeping", "writing", "done"])
def test_a_delete_at_any_step_of_a_rebuild_is_final(url: str, tmp_path: Path, step: str) -> None:
    """A rebuild that began before the delete publishes nothing of the person, whatever it had read."""
    world = new_world(url, tmp_path)
    world.ingest([visit(n, userId="ann", anonymousId="d") for n in range(5)])
    world.drain().step()
    seen = []

    def progress(what: str, done: int) -> None:
        if what == step and not seen:
            seen.append(step)
            delete(world, "user:ann")
            assert known(world, "user:ann", "anon:d") == [NOBODY] * 2

    rebuilding.rebuild(world.store, world.lake, world.settings, progress=progress)
    assert seen
    assert known(world, "user:ann", "anon:d") == [NOBODY] * 2
    world.drain().step()
    world.rebuild()
    assert known(world, "user:ann", "anon:d") == [NOBODY] * 2
    assert in_batch(world) == {}


def test_what_comes_after_a_delete_counts_alone(url: str, tmp_path: Path) -> None:
    """New events count, links before are gone, and a retry of a deleted event within 24 h is no new event."""
    world = new_world(url, tmp_path)
    old = [visit(1, anonymousId="d"), lives_in("Oslo", userId="ann", anonymousId="d"), visit(2, userId="ann")]
    world.ingest(old)
    delete(world, "anon:d")
    receipts = world.ingest([old[0], old[2], visit(3, userId="ann"), visit(4, anonymousId="d")])

    assert [outcome.duplicate for outcome in receipts.outcomes] == [True, True, False, False]
    assert [values["visits"] for values in known(world, "user:ann", "anon:d")] == [1, 1]
    check(world, ["user:ann", "anon:d"])
    world.rebuild()
    receipts = world.ingest([old[0], old[2]])
    assert [outcome.duplicate for outcome in receipts.outcomes] == [True, True]
    world.ingest([visit(5, userId="ann", anonymousId="d")])
    assert known(world, "anon:d")[0] == {"visits": 3, "pages": (3, 4, 5), "city": None}
    check(world, ["user:ann", "anon:d"])


#: Events that name several ids, each with every id of the person that it makes.
TOGETHER = {
    "a user and a device": (visit(1, userId="ann", anonymousId="d"), ["user:ann", "anon:d"]),
    "a user and an email": (visit(1, userId="ann", emailHash="e"), ["user:ann", "email:e"]),
    "an email and a device": (visit(1, anonymousId="d", emailHash="e"), ["email:e", "anon:d"]),
    "all three": (lives_in("Oslo", userId="ann", anonymousId="d", emailHash="e"), ["user:ann", "anon:d", "email:e"]),
    "an alias": (
        {"type": "alias", "messageId": "a", "previousId": "d", "userId": "ann"},
        ["user:ann", "anon:d", "user:d"],
    ),
}


def stored(world: World) -> dict[bytes, Any]:
    """The keys of Redis that hold ids, and those that say how far the logs are."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        patterns = ("rec:*", "gone:*", "recent:*", "log:*", "shard:*")
        names = [key for pattern in patterns for key in client.scan_iter(pattern)]
        return {name: client.dump(name) for name in names}


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize("is_purged", [False, True], ids=["deleted", "purged"])
@pytest.mark.parametrize("what", TOGETHER)
def test_a_retry_of_what_was_deleted_does_nothing_at_all(url: str, tmp_path: Path, what: str, is_purged: bool) -> None:
    """A retry of a deleted event links nobody either, alone or among others. New events after the delete make a person
    of their own."""
    event, ids = TOGETHER[what]
    world = new_world(url, tmp_path)
    world.ingest([event])
    assert {len(world.answers(id).asof["ids"]) for id in ids} == {len(ids)}
    assert sorted(delete(world, ids[-1])) == sorted(ids)
    if is_purged:
        purge_now(world.store, world.lake, world.settings)
    before = stored(world)
    assert world.ingest([event]).outcomes[0].duplicate
    assert stored(world) == before

    outcomes = world.ingest([event, visit(2, userId="bob", anonymousId="d2"), event]).outcomes
    assert [outcome.duplicate for outcome in outcomes] == [True, False, True]
    for id in ids:
        assert list(world.answers(id).asof["ids"]) == [id] and known(world, id) == [NOBODY]
    world.ingest([event, event | {"messageId": "new"}])
    assert {len(world.answers(id).asof["ids"]) for id in ids} == {len(ids)}
    assert {world.values(id)["visits"] for id in ids} == {int("event" in event)}
    check(world, ids)


def test_a_retry_completes_a_link_that_was_cut_off(url: str, tmp_path: Path) -> None:
    """A retry completes a link that was cut off, unless the id was given up since, or its owner deleted."""
    both = visit(1, userId="ann", anonymousId="d")
    for number, between in enumerate(("nothing", "unlinked", "owner deleted", "owner deleted and purged")):
        world = new_world(url, tmp_path / str(number))
        cut_off(world, both)
        if between == "unlinked":
            world.ingest([visit(2, userId="bob", anonymousId="d")])
            world.store.follow(unlink_id(world.store.operations, "anon:d", "off"))
        if "deleted" in between:
            assert list(delete(world, "user:ann")) == ["user:ann"]
        if "purged" in between:
            purge_now(world.store, world.lake, world.settings)
        assert world.ingest([both]).outcomes[0].duplicate
        owner = world.store.owners(["anon:d"])[0]
        assert (owner.id if owner else None) == ("user:ann" if between == "nothing" else None), between
        world.drain().step()
        assert world.store.owners(["anon:d"])[0] == owner, between


def test_a_drain_completes_a_link_that_was_cut_off_after_a_delete(url: str, tmp_path: Path) -> None:
    """The drain completes the link, though it drains an event of the same ids from before the delete with it."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, userId="ann", anonymousId="d")])
    delete(world, "user:ann")
    deleted_ms = max(state.last_received_ms for state in world.store.shard_states())
    # The delete gives up a link of its own millisecond together with those before.
    wait_until(lambda: world.store.now_ms() > deleted_ms, "what comes now comes after the delete")
    cut_off(world, visit(2, userId="ann", anonymousId="d"))
    world.drain().step()
    assert known(world, "user:ann") == known(world, "anon:d") == [{"visits": 1, "pages": (2,), "city": None}]
    check(world, ["user:ann", "anon:d"])


def cut_off(world: World, event: dict[str, Any]) -> None:
    """Sends an event whose caller is killed before it links anybody."""
    catalogue = world.catalogue
    accepted = accept(event, Limits())
    world.store.ingest([Arrival(accepted, tail_payload(accepted, catalogue.projection))], catalogue.projection_version)


def test_a_wiped_redis_does_not_bring_anybody_back(url: str, tmp_path: Path) -> None:
    """Recovery restores links, unlinks and deletes exactly, and so that retries are still known."""
    world = new_world(url, tmp_path)
    gone = visit(1, userId="ann", anonymousId="d1")
    world.ingest([gone, visit(2, userId="bob", anonymousId="d2"), visit(3, userId="cy", emailHash="e")])
    delete(world, "user:ann")
    world.ingest([visit(4, userId="cy", anonymousId="d1")])
    ids = ["user:ann", "anon:d1", "user:bob", "anon:d2", "user:cy", "email:e"]
    check(world, ids)
    before = [(world.values(id), world.answers(id).asof["ids"].keys()) for id in ids]
    with redis.Redis.from_url(url) as client:
        fields = {key: client.hmget(key, "o", "u", "d", "l") for key in client.scan_iter("rec:*")}
        client.flushall()
    assert world.recover()

    assert [(world.values(id), world.answers(id).asof["ids"].keys()) for id in ids] == before
    with redis.Redis.from_url(url) as client:
        assert {key: client.hmget(key, "o", "u", "d", "l")[:3] for key in client.scan_iter("rec:*")} == {
            key: values[:3] for key, values in fields.items()
        }
    assert world.ingest([gone]).outcomes[0].duplicate
    check(world, ids)


def test_a_rewound_redis_learns_of_links_and_deletes_that_it_lost(tmp_path: Path) -> None:
    """With an older copy of its files, from before the delete, Redis does not answer with the deleted for a moment."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        world = new_world(server.url, tmp_path)
        world.ingest([visit(1, userId="ann", anonymousId="d1"), visit(2, userId="bob")])
        while world.drain().step().rows:
            pass
        world.rebuild()
        world.ingest([visit(3, userId="ann")])
        server.stop()
        shutil.copytree(tmp_path / "redis", tmp_path / "older")
        server.start()
        assert world.recover()
        delete(world, "user:ann")
        world.ingest([visit(4, userId="bob", anonymousId="d2"), visit(5, anonymousId="d2")])
        while world.drain().step().rows:
            pass
        server.stop()
        shutil.rmtree(tmp_path / "redis")
        shutil.copytree(tmp_path / "older", tmp_path / "redis")
        server.start()
        steps = []

        def look(step: str) -> None:
            steps.append(step)
            if step in ("ownership", "replayed", "before_ready"):
                assert known(world, "user:ann", "anon:d1") == [NOBODY] * 2, step

        assert recover(world.store, world.lake, world.settings, look)
        assert "replayed" in steps
        assert world.values("bob")["pages"] == world.values("anon:d2")["pages"] == (2, 4, 5)
        check(world, ["user:ann", "anon:d1", "user:bob", "anon:d2"])


def test_history_that_is_imported_again_after_a_delete_brings_nobody_back(url: str, tmp_path: Path) -> None:
    """Importing the same file again adds nothing. Of another file, events of before the delete count for nobody."""
    world = new_world(url, tmp_path)

    def imported(name: str, *rows: tuple[str, int]) -> None:
        file = tmp_path / name
        frame = pl.DataFrame({"who": [user for user, _ in rows], "what": "visit", "at": [at for _, at in rows]})
        frame.write_parquet(file)
        import_file(
            world.lake,
            file,
            user_column="who",
            event_column="what",
            time_column="at",
            now_ms=world.store.now_ms(),
            shards=2,
        )
        world.rebuild()

    start = world.store.now_ms() - 1_000_000
    imported("one.parquet", ("ann", start), ("bob", start))
    assert world.values("ann")["visits"] == 1
    delete(world, "user:ann")
    world.drain().step()
    imported("one.parquet", ("ann", start), ("bob", start))
    imported("two.parquet", ("ann", start), ("ann", start + 1), ("bob", start + 1))

    assert known(world, "ann")[0] == NOBODY
    assert world.values("bob")["visits"] == 2
    assert set(counted(world.lake.events()).collect()["id"]) == {"user:bob"}
    check(world, ["user:ann", "user:bob"])


def test_an_imported_event_that_was_deleted_is_no_new_event_when_an_app_sends_it(url: str, tmp_path: Path) -> None:
    """It is remembered for 24 hours after the import, as a logged one is; after rebuilds and a recovery too."""
    world = new_world(url, tmp_path)
    event = visit(1, userId="ann")
    file = tmp_path / "old.parquet"
    names = {"who": ["ann"], "what": ["visit"], "at": [world.store.now_ms() - 1_000], "id": [event["messageId"]]}
    pl.DataFrame(names).write_parquet(file)
    columns = {"user_column": "who", "event_column": "what", "time_column": "at", "id_column": "id"}
    import_file(world.lake, file, **columns, now_ms=world.store.now_ms(), shards=2)
    world.rebuild()
    assert world.values("ann")["visits"] == 1
    delete(world, "user:ann")
    world.drain().step()
    for step in ("deleted", "rebuilt", "recovered"):
        assert world.ingest([event]).outcomes[0].duplicate, step
        world.ingest([visit(2, userId="ann")])  # so that a rebuild has a base to publish
        while world.drain().step().rows:
            pass
        world.rebuild()
        if step == "rebuilt":
            with redis.Redis.from_url(url) as client:
                client.flushall()
            assert world.recover()
    assert world.values("ann")["pages"] == (2,)
    check(world, ["user:ann"])


@pytest.mark.deep
def test_a_delete_that_is_cut_off_is_completed_by_asking_again(url: str, tmp_path: Path) -> None:
    """A delete that was cut off is completed by any of the person's ids: from each all that is left is still found."""
    for number, by in enumerate(("user:b", "user:a", "anon:d1", "anon:d2")):
        world = new_world(url, tmp_path / str(number))
        world.ingest([visit(1, userId="a", anonymousId="d1"), visit(2, userId="b", anonymousId="d2")])
        world.ingest([{"type": "alias", "previousId": "user:a", "userId": "b"}])
        whole = list(delete(world, by))
        assert sorted(whole) == ["anon:d1", "anon:d2", "user:a", "user:b"]
        for done in range(1, 4):
            world = new_world(url, tmp_path / f"{number}-{done}")
            world.ingest([visit(1, userId="a", anonymousId="d1"), visit(2, userId="b", anonymousId="d2")])
            world.ingest([{"type": "alias", "previousId": "user:a", "userId": "b"}])
            request = world.store.operations.delete
            entries = [_entry(id) for id in whole[:done]]
            world.store.ask(request(entries))
            delete(world, by)
            assert known(world, *whole) == [NOBODY] * 4, (by, done)


def test_a_delete_beside_logins_leaves_no_link(url: str, tmp_path: Path) -> None:
    """However a delete and logins fall, request by request, nobody is the deleted person's: neither of who was claimed
    before, nor by a call whose process ended after any of its requests. Each list has its owner's ids and no others."""
    world = new_world(url, tmp_path)
    chance = random.Random(5)
    operations = world.store.operations
    catalogue, ids = world.catalogue, []
    for number in range(60):
        user, devices = f"user:u{number}", [f"anon:d{number}-{device}" for device in range(4)]
        world.ingest([visit(1, userId=user[5:], anonymousId=devices[0][5:])])
        events = [accept(visit(2, userId=user[5:], anonymousId=device[5:]), Limits()) for device in devices[1:]]
        receipts = world.store.ingest(
            [Arrival(event, tail_payload(event, catalogue.projection)) for event in events],
            catalogue.projection_version,
        )
        callers: list[Any] = [delete_person(operations, chance.choice([user, devices[0]]), f"gone{number}")]
        for claim in claims_with_receipts(distinct_claims(events), events, receipts.came_ms):
            callers.append(link_claims(operations, [claim], [None]))
        commands = chance.choice([None, None, chance.randrange(1, 24)])
        at_once(world.store, callers, [chance.randrange(len(callers)) for _ in range(24)], commands)
        ids += [user, *devices]
    while world.drain().step().rows:  # it completes what was cut off
        pass
    deleted = {id for id in ids if world.store.ties([id])[id].deleted_ms >= 0}
    assert len(deleted) > 60
    owners = dict(zip(ids, world.store.owners(ids), strict=True))
    assert not [id for id, owner in owners.items() if owner is not None and owner.id in deleted]
    for owner, listed in world.store.members(ids).items():
        theirs = {id for id, of in owners.items() if of is not None and of.id == owner}
        assert set(listed) == theirs, owner
    check(world, ids[:50])


def test_a_link_that_is_taken_back_takes_no_newer_one_along(url: str, tmp_path: Path) -> None:
    """A login of after the delete stands, whenever the caller of before the delete finds that its link is vain."""
    world = new_world(url, tmp_path)
    operations = world.store.operations
    event = accept(visit(1, userId="ann", anonymousId="d"), Limits())
    catalogue = world.catalogue
    arrival = Arrival(event, tail_payload(event, catalogue.projection))
    receipts = world.store.ingest([arrival], catalogue.projection_version)
    late = link_claims(operations, claims_with_receipts(distinct_claims([event]), [event], receipts.came_ms), [None])
    answer = None
    while (request := late.send(answer)).commands[0].words[1] != CLAIM.sha:
        answer = world.store.ask(request)
    delete(world, "user:ann")
    answer = world.store.ask(request)  # the link is made after the delete
    assert list(world.answers("anon:d").asof["ids"]) == ["anon:d"]
    world.drain().step()  # which takes the link back
    world.ingest([visit(2, userId="ann", anonymousId="d")])
    world.store.follow(going_on(late, answer))

    assert world.values("anon:d")["pages"] == world.values("ann")["pages"] == (2,)
    check(world, ["user:ann", "anon:d"])


def going_on(steps: Steps[Any], answer: Any) -> Steps[None]:
    """The rest of some steps, from the answer to their last request."""
    with suppress(StopIteration):
        while True:
            answer = yield steps.send(answer)


def _entry(id: str) -> Any:
    return Accepted("gone", "delete", id)


def test_a_link_that_came_after_a_delete_is_not_completed_away(redis_url: str, tmp_path: Path) -> None:
    """The drain completes a delete for a caller that was cut off; ids that were claimed since are the person's anew."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest([purchase("ada", 1, anonymousId="phone")])
    delete(world, "user:ada")
    world.ingest([purchase("ada", 2, anonymousId="laptop")])

    world.drain().step()

    owners = world.store.owners(["anon:laptop", "anon:phone"])
    assert [owner.id if owner else None for owner in owners] == ["user:ada", None]
    assert world.values("ada") == world.values("anon:laptop") == {"orders": 1}
    world.rebuild()
    assert world.values("anon:laptop") == {"orders": 1}
