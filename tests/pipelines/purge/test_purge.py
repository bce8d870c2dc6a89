"""A purge leaves nothing of the deleted in any file, stream or key; the tombstones that it leaves go on refusing
them."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import polars as pl
import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from expressions.batch.counting import counted
from expressions.batch.member_frames import linked_persons
from expressions.rules.deletes import after_deletes, tombstone_id
from lake.errors import LakeConflict
from lake.schemas import MEMBERSHIPS, TABLES, TRAITS
from pipelines.importing.import_file import import_file
from pipelines.purge.naming import Names
from pipelines.purge.purge import Purged, purge
from pipelines.purge.purge_now import purge_now
from pipelines.purge.searching import Searched, redis_folder, search_everywhere
from pipelines.rebuild import rebuild_at
from pipelines.recover import recover
from serving.app import engine_of
from serving.ingest.accept import Limits, accept
from serving.lookups.person_files import PersonFiles
from serving.runs import AskedRun, decoded, encode
from serving.store.logged_event import RefusedEvent
from serving.store.operations.links import Claim
from serving.store.requests import Request
from serving.store.store import AsyncStore
from serving.streams.tickets import Subject, name_of, sealed, ticket_of
from tests.pipelines.test_deletes import NOBODY, delete
from tests.pipelines.test_links import check, in_batch, lives_in, new_world, visit
from tests.pipelines.world import World
from tests.waiting import wait_until

T = TypeVar("T")
ANN, DEVICE, EMAIL = "user:ann-of-the-green-gables", "anon:device-5f3a", "email:e1c0ffee"
EVERY = (ANN, DEVICE, EMAIL)
IDS = {"userId": "ann-of-the-green-gables", "anonymousId": "device-5f3a"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis for this module."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def world(server: EmbeddedRedis, tmp_path: Path) -> World:
    """A person with three ids, drained and rebuilt, beside bob; tables as of a time, a refused event, an export, and
    the ticket of a change stream."""
    world = new_world(server.url, tmp_path)
    world.define("segment", {"keen": "events.visit.count > 0"})
    world.ingest([visit(1, anonymousId=IDS["anonymousId"]), lives_in("Oslo", **IDS), visit(2, userId="bob")])
    world.ingest([visit(3, userId=IDS["userId"], emailHash="e1c0ffee")])
    world.store.reject(
        [
            b'{"received_at": 1, "code": "bad", "reason": "no", "event": "{\\"userId\\": \\"%s\\"}"}'
            % IDS["userId"].encode()
        ]
    )
    text = json.dumps({"userId": IDS["userId"]})
    shown = RefusedEvent(1, "bad", "no", text, "app", [f"user:{IDS['userId']}"])
    world.store.keep_refused([msgspec.json.encode(shown)])
    subject = Subject("configured:read", "ofrep", IDS["userId"], IDS["anonymousId"], None)
    ticket = ticket_of(subject, b"digest")
    world.store.keep_ticket(name_of(ticket), sealed(subject, ticket), 3_600_000)
    drained(world)
    world.rebuild()
    rebuild_at(world.store, world.lake, world.store.now_ms())
    exports = tmp_path / "lake" / "exports"
    exports.mkdir()
    (exports / "keen.csv").write_text(f"user_id\n{IDS['userId']}\nbob\n")
    (exports / "others.csv").write_text("user_id\nbob\n")
    return world


def known(world: World, *ids: str) -> list[dict[str, Any]]:
    """The live traits of each id's person."""
    return [{key: value for key, value in world.values(id).items() if key != "keen"} for id in ids]


def drained(world: World) -> None:
    """Drains all of the log, and the refused events."""
    while world.drain().step().rows:
        pass
    world.drain().keep_rejected()


def tomorrow(world: World, days: int = 1) -> datetime:
    """A day on which today's rows may be rewritten."""
    return datetime.fromtimestamp(world.store.now_ms() / 1000, UTC) + timedelta(days=days)


def erased(world: World, **more: Any) -> Purged:
    """Purges at once; returns what it did."""
    return purge_now(world.store, world.lake, world.settings, **more)[0]


def search(world: World, *ids: str) -> Searched:
    """Searches all that this world stores."""
    folder = redis_folder(world.store)
    assert folder is not None
    return search_everywhere(Names(ids), world.store, world.lake.root, [folder])


def test_a_search_finds_an_id_in_every_kind_of_place(world: World) -> None:
    """A search looks into packed columns of tables, a map's values, exports, keys, streams and Redis' own file."""
    world.ingest([visit(4, **IDS, friend="bob")])
    places = search(world, ANN).found
    for place in (
        "column id",
        "column user_id",
        "column event",
        "exports/keen.csv",
        "appendonly",
        "redis log:",
        "redis rec:",
    ):
        assert any(place in where for where in places), place
    assert any("memberships" in where for where in places) and any("traits" in where for where in places)
    assert search(world, "user:nobody-of-this-name").found == []


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("by", EVERY)
def test_a_purge_at_once_leaves_no_byte(world: World, by: str) -> None:
    """Right after it tables, their logs, exports, streams, records and Redis' file have nothing of the deleted, today's
    rows included (D-30)."""
    bob = known(world, "user:bob")
    delete(world, by)
    did = erased(world)

    assert did.gone == 3 and did.records == 3 and did.exports == 1
    searched = search(world, *EVERY)
    assert searched.found == [] and searched.files > 20 and searched.keys > 5
    assert search(world, "user:bob").found_count > 5
    assert known(world, *EVERY, "user:bob") == [NOBODY] * 3 + bob
    tombstones = world.lake.events().filter(pl.col("kind") == "delete").collect()["id"].to_list()
    assert sorted(tombstones) == sorted(map(tombstone_id, EVERY))
    check(world, [*EVERY, "user:bob"])
    world.rebuild()
    assert list(in_batch(world)) == ["user:bob"]
    assert search(world, *EVERY).found == []
    assert erased(world).gone == 0


def test_today_waits_until_it_is_over(world: World) -> None:
    """The daily purge leaves the rows of today alone, takes them the next day, and the files a day after that."""
    delete(world, ANN)
    drained(world)
    before = world.lake.events().collect().height
    assert purge(world.store, world.lake, tomorrow(world, 0)).rows["events"] == 0
    assert world.lake.events().collect().height == before

    did = purge(world.store, world.lake, tomorrow(world))
    assert did.rows["events"] == 5 and did.gone == 3
    for table in ("events", "traits", "memberships", "rejected"):
        opened = world.lake.open(next(known for known in TABLES if known.name == table))
        for uri in opened.file_uris():
            assert not Names(EVERY).among(pl.read_parquet(uri).to_series(0).cast(pl.String)), uri
    assert {where.split("/")[1] for where in search(world, *EVERY).found if where.startswith("lake/")} <= {
        "events",
        "traits",
        "memberships",
        "rejected",
    }  # files of older versions stay for a day


@pytest.mark.deep
def test_a_wiped_redis_and_the_archive_bring_nobody_back(world: World, tmp_path: Path) -> None:
    """After a purge nobody comes back when Redis is recovered from the lake alone, or when history is imported
    again."""
    start = world.store.now_ms() - 1_000_000
    delete(world, DEVICE)
    erased(world)
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.flushall()
    assert world.recover()
    assert known(world, *EVERY) == [NOBODY] * 3

    file = tmp_path / "archive.parquet"
    pl.DataFrame({"who": [IDS["userId"], "bob"], "what": "visit", "at": [start, start]}).write_parquet(file)
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
    assert known(world, *EVERY) == [NOBODY] * 3
    assert world.values("bob")["visits"] == 2
    world.rebuild([ANN])
    assert known(world, ANN) == [NOBODY]
    check(world, [*EVERY, "user:bob"])
    with PersonFiles(8, linked_persons(world.lake.events())) as slices:  # as exports read them, some people at a time
        slices.add(world.lake.events().collect())
        live = [id for rows in slices.take() for id in after_deletes(rows.lazy()).collect()["id"].to_list()]
    assert set(live) == {"user:bob"} and len(live) == 2
    assert erased(world).rows["events"] == 1
    assert search(world, *EVERY).found == []


@pytest.mark.deep
def test_what_comes_after_a_purge_counts_alone_and_retries_do_not(world: World) -> None:
    """A retry of a deleted event within 24 h is no new event; a new one counts; its tombstone stays without a name."""
    old = visit(9, userId=IDS["userId"])
    world.ingest([old])
    delete(world, ANN)
    erased(world)
    receipts = world.ingest([old])
    assert [outcome.duplicate for outcome in receipts.outcomes] == [True]
    receipts = world.ingest([visit(10, userId=IDS["userId"])])
    assert [outcome.duplicate for outcome in receipts.outcomes] == [False]
    assert known(world, ANN, DEVICE) == [{"visits": 1, "pages": (10,), "city": None}, NOBODY]
    check(world, [*EVERY, "user:bob"])
    world.rebuild()
    assert [outcome.duplicate for outcome in world.ingest([old]).outcomes] == [True]
    assert known(world, ANN)[0]["pages"] == (10,)

    did = erased(world)
    assert (did.gone, did.returned) == (0, 1)
    assert known(world, ANN)[0]["pages"] == (10,)
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.flushall()
    assert world.recover()
    check(world, [*EVERY, "user:bob"])
    assert known(world, ANN)[0]["pages"] == (10,)
    delete(world, ANN)
    erased(world)
    assert search(world, *EVERY).found == []


def test_a_rebuild_that_began_before_does_not_get_past_a_tombstone_without_a_name(world: World) -> None:
    """A rebuild that read the person's rows and was paused publishes and writes nothing of them after the purge."""
    from pipelines import rebuild as rebuilding

    seen = []

    def progress(what: str, done: int) -> None:
        if what == "publishing" and not seen:
            seen.append(what)
            delete(world, ANN)
            erased(world)

    purged = {table.name: world.lake.purged(table) for table in (TRAITS, MEMBERSHIPS)}
    events = counted(world.lake.events()).collect().lazy()
    with pytest.raises(LakeConflict, match="purged from it meanwhile"):
        rebuilding.rebuild(world.store, world.lake, world.settings, progress=progress)
    with pytest.raises(LakeConflict, match="purged from it meanwhile"):  # and one as of a time
        rebuilding.write_answers(world.lake, events, world.catalogue, 2**62, 2**62, purged, latest_of=None)
    assert seen and search(world, *EVERY).found == []
    assert known(world, *EVERY) == [NOBODY] * 3
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        assert [key for key in client.scan_iter("rec:*") if b"bob" not in key] == []


STEPS = ("drained", "looked", "rejected", "traits", "memberships", "events", "forgotten", "files", "cleaned")


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("step", STEPS)
def test_a_purge_that_is_cut_off_is_run_again(world: World, step: str) -> None:
    """A purge may be cut off at any step: the next one leaves nothing, and events that came meanwhile are there
    once."""
    delete(world, EMAIL)

    def cut(reached: str) -> None:
        if reached == step:
            world.ingest([visit(20, userId="bob")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erased(world, on_step=cut)
    erased(world)
    assert search(world, *EVERY).found == []
    assert world.values("bob")["pages"] == (2, 20)
    check(world, [*EVERY, "user:bob"])
    for shard in range(2):
        seqs = world.seqs(shard)
        assert len(set(seqs)) == len(seqs)


def test_events_that_come_during_a_purge_wait_in_the_log(world: World) -> None:
    """Events that come at any step of a purge are taken, count at once, and are in the lake, each once, with the
    drain's next round."""
    delete(world, ANN)
    page = 100

    def on_step(step: str) -> None:
        nonlocal page
        page += 1
        world.ingest([visit(page, userId="bob")])
        assert page in world.values("bob")["pages"]

    erased(world, on_step=on_step)
    assert search(world, *EVERY).found == []
    drained(world)
    rows = world.lake.events().filter(pl.col("id") == "user:bob", pl.col("kind") == "track").collect()
    assert rows.height == 1 + page - 100 == rows["event_id"].n_unique()
    check(world, [*EVERY, "user:bob"])


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("step", ["checked", "read", "before_write", "after_write"])
def test_a_drain_that_was_stopped_goes_on_after_a_purge(world: World, step: str) -> None:
    """A drain that stands still at any step while a purge takes its lease and drops files at once loses no event
    afterwards, doubles none, and leaves every table whole."""
    delete(world, ANN)
    world.ingest([visit(page, userId="bob") for page in (40, 41)])
    purged = []

    def stopped(reached: str) -> None:
        if reached == step and not purged:
            purged.append(erased(world))

    World(world.settings.redis_url or "", world.settings.home, shards=2).drain(stopped).step()
    drained(world)

    assert purged and search(world, *EVERY).found == []
    assert [world.lake.missing_files(table) for table in TABLES] == [[]] * len(TABLES)
    rows = world.lake.events().filter(pl.col("id") == "user:bob", pl.col("kind") == "track").collect()
    assert rows.height == 3 == rows["event_id"].n_unique()
    check(world, [*EVERY, "user:bob"])


def test_a_drain_that_was_stopped_keeps_no_refused_event_that_a_purge_took_out(world: World) -> None:
    """A drain read refused events and stands still while a purge takes out what names the deleted. When it wakes up it
    keeps none of that, and the next round keeps what comes later."""
    delete(world, ANN)
    refused = b'{"received_at": %d, "code": "bad", "reason": "no", "event": "of %s"}'

    def purged(step: str) -> None:
        if step == "refused":
            erased(world)

    world.store.reject([refused % (2, IDS["userId"].encode())])
    with pytest.raises(LakeConflict, match="purged from it meanwhile"):
        world.drain(purged).keep_rejected()
    assert search(world, *EVERY).found == []

    world.store.reject([refused % (3, b"bob")])
    drained(world)
    assert world.lake.rejected().collect()["received_at"].to_list() == [3]


def test_what_a_refused_event_keeps_beside_its_text_goes_too(world: World) -> None:
    """The ids of an event of which a part alone was kept, the context of its batch, and its time as it was sent."""
    delete(world, ANN)
    named = f'["{ANN}"]'
    for column in ("ids", "context", "sent_at", "reason"):
        row = {"received_at": 1, "code": "bad", "reason": "no", "event": "", column: named}
        world.store.reject([json.dumps(row).encode()])
    world.store.reject([b'{"received_at": 1, "code": "bad", "reason": "no", "event": "of bob", "ids": "[]"}'])
    drained(world)
    assert world.lake.rejected().filter(event="").collect().height == 4

    erased(world)

    assert search(world, *EVERY).found == []
    assert world.lake.rejected().collect()["event"].to_list() == ["of bob"]


def test_a_rebuild_that_is_asked_for_forgets_who_is_gone(world: World) -> None:
    """Its other ids stay asked for, under the id of the same run."""
    world.store.ask_run(encode(AskedRun("run", "ada", 1, [ANN, "user:bob"])))
    delete(world, ANN)
    drained(world)

    erased(world)

    assert search(world, *EVERY).found == []
    assert [run for _, run in decoded(world.store.asked_runs())] == [AskedRun("run", "ada", 1, ["user:bob"])]


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("step", ["looked", "memberships", "events"])
def test_who_is_spoken_of_anew_while_a_purge_runs_is_kept(world: World, step: str) -> None:
    """An email that becomes the owner of a new device has no event of its own, and yet it is somebody again."""
    delete(world, EMAIL)
    drained(world)

    def come(reached: str) -> None:
        if reached == step:
            world.ingest([visit(30, anonymousId="tablet-77aa", emailHash="e1c0ffee")])
            drained(world)

    purge(world.store, world.lake, tomorrow(world), on_step=come)
    assert known(world, EMAIL, "anon:tablet-77aa") == [{"visits": 1, "pages": (30,), "city": None}] * 2
    check(world, [*EVERY, "anon:tablet-77aa", "user:bob"])
    erased(world)
    assert known(world, EMAIL)[0]["pages"] == (30,)
    check(world, [*EVERY, "anon:tablet-77aa", "user:bob"])


def test_history_that_comes_while_a_purge_runs_is_kept(world: World, tmp_path: Path) -> None:
    """History that is imported and rebuilt after the purge has looked stays: a base without an event in the log is
    somebody too."""
    delete(world, ANN)
    drained(world)
    later = world.store.now_ms() + 1_000
    file = tmp_path / "later.parquet"
    pl.DataFrame({"who": [IDS["userId"]], "what": "visit", "at": [later]}).write_parquet(file)

    def come(reached: str) -> None:
        if reached == "looked":
            names = {"user_column": "who", "event_column": "what", "time_column": "at"}
            import_file(world.lake, file, now_ms=later, shards=2, **names)
            world.rebuild()

    purge(world.store, world.lake, tomorrow(world, 0), on_step=come)
    record = world.store.records([ANN]).records[0]
    assert record.base


def test_a_member_who_never_came_does_not_keep_a_name(world: World) -> None:
    """A call that was cut off after it had listed a device, and was never repeated, leaves the device nobody's: its
    name goes from the list."""
    delete(world, ANN)
    world.store.add_members([Claim("anon:never-linked", ANN, "cut off")])
    erased(world)
    assert search(world, ANN, "anon:never-linked").found == []


@pytest.mark.parametrize("is_gone_first", [False, True], ids=["at once", "purged before"])
def test_what_was_refused_before_a_delete_goes_of_who_came_back_too(world: World, is_gone_first: bool) -> None:
    """Refused events of before the delete go. Those that were refused after it stay, and those that name only
    others."""

    def refuse(street: str, user: str = IDS["userId"]) -> None:
        event = json.dumps({"userId": user, "traits": {"street": street}})
        row = {"received_at": world.store.now_ms(), "code": "bad", "reason": f"no {user}", "event": event}
        world.store.reject([json.dumps(row).encode()])

    refuse("Elm 5")
    refuse("Oak 6", "bob")
    delete(world, ANN)
    if is_gone_first:
        erased(world)
        refuse("Ash 7")
        delete(world, ANN)
    deleted_ms = world.store.now_ms()
    wait_until(lambda: world.store.now_ms() > deleted_ms, "what comes now comes after the delete")
    world.ingest([visit(2, userId=IDS["userId"])])
    refuse("Fir 8")
    did = erased(world)

    assert did.returned == 1
    traits = [json.loads(event).get("traits") for event in world.lake.rejected().collect()["event"].to_list()]
    assert sorted(sent["street"] for sent in traits if sent) == ["Fir 8", "Oak 6"]


class Interrupted(AsyncStore):
    """A store of the API that lets something else happen just before one of its requests."""

    left = 0
    act: Callable[[], object]

    async def ask(self, request: Request[T]) -> T:
        """The answer, after what is to happen before it."""
        self.left -= 1
        if self.left == 0:
            self.act()
        return await super().ask(request)


def is_interrupted(world: World, event: dict[str, Any], number: int, act: Callable[[], object]) -> bool:
    """Lets the API take an event, with something else before its request of a number; returns whether it came to that
    request."""

    async def main() -> int:
        engine = engine_of(world.settings)
        catalogue = await engine.reload(None)
        await engine.store.close()
        async with Interrupted(world.settings.redis_url or "", world.settings.shards) as store:
            engine.store, store.left, store.act = store, number, act
            await engine.ingest([accept(event, Limits())], catalogue)
        engine.admin_store.close()
        return store.left

    return asyncio.run(main()) <= 0


@pytest.mark.parametrize("deleted", ["user:carolina", "anon:carolinas-phone"])
def test_no_link_is_made_after_a_delete_that_was_said_before_it(world: World, deleted: str) -> None:
    """A delete of either id may come between any two requests of the API: nothing is left that names who is gone."""
    gone = []
    for number in itertools.count(3):  # the first two, sent together, take the event
        id = f"{deleted}-{number}"
        event = visit(1, userId=f"carolina-{number}", anonymousId=f"carolinas-phone-{number}")
        if not is_interrupted(world, event, number, lambda id=id: delete(world, id)):  # type: ignore[misc]
            break
        gone.append(id)
    assert len(gone) >= 3
    erased(world)
    assert search(world, *gone).found == []


def test_what_only_names_the_gone_forgets_them(world: World) -> None:
    """Other people's events lose a device that was the gone person's too, and a link that was given up goes. The
    others' answers stay."""
    from serving.people.links import unlink_id

    world.ingest([visit(5, userId="cy", anonymousId=IDS["anonymousId"])])
    world.ingest([visit(6, userId=IDS["userId"], anonymousId="tablet-of-cy")])
    world.store.follow(unlink_id(world.store.operations, "anon:tablet-of-cy", "off"))
    world.ingest([visit(7, anonymousId="tablet-of-cy")])
    drained(world)
    delete(world, ANN)
    erased(world)
    assert search(world, *EVERY).found == []
    assert known(world, "user:cy", "anon:tablet-of-cy") == [
        {"visits": 1, "pages": (5,), "city": None},
        {"visits": 1, "pages": (7,), "city": None},
    ]
    check(world, [*EVERY, "user:cy", "anon:tablet-of-cy"])
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.flushall()
    assert world.recover()
    check(world, [*EVERY, "user:cy", "anon:tablet-of-cy"])


@pytest.mark.deep
def test_a_rewound_redis_does_not_bring_anybody_back(tmp_path: Path) -> None:
    """A Redis with an older copy of its files, from before the delete, learns of deletes whose tombstones have no name
    in the lake any more."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        world = new_world(server.url, tmp_path)
        world.ingest([visit(1, **IDS), visit(2, userId="bob")])
        drained(world)
        world.rebuild()
        world.ingest([visit(3, userId=IDS["userId"])])
        server.stop()
        shutil.copytree(tmp_path / "redis", tmp_path / "older")
        server.start()
        assert world.recover()
        delete(world, ANN)
        world.ingest([visit(4, userId="bob")])
        erased(world)
        server.stop()
        shutil.rmtree(tmp_path / "redis")
        shutil.copytree(tmp_path / "older", tmp_path / "redis")
        server.start()

        def look(step: str) -> None:
            if step in ("ownership", "replayed", "before_ready"):
                assert known(world, ANN, DEVICE) == [NOBODY] * 2, step

        assert recover(world.store, world.lake, world.settings, look)
        assert world.values("bob")["pages"] == (2, 4)
        check(world, [ANN, DEVICE, "user:bob"])
        erased(world)
        assert search(world, ANN, DEVICE).found == []
