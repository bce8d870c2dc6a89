"""Clocks that are off: those of senders, of API processes, and Redis' own, which may step back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis

from expressions.rules import identity as people_of
from expressions.rules.deletes import after_deletes
from lake.lake import Lake
from lake.schemas import EVENTS, TRAITS, Table
from lake.tables import Change
from pipelines.earliest_clock import EarliestClock
from pipelines.maintain import maintain
from pipelines.purge.purge import purge
from pipelines.restamp import Restamped, restamp
from pipelines.work import plain_work
from serving.ids import shard_of
from serving.ingest.accept import Envelope, Limits, accept
from serving.ingest.projection import tail_payload
from serving.people.deletion import delete_person
from serving.people.gather import gather
from serving.people.links import unlink_id
from serving.people.person import Answers, DecodedBases, person
from serving.store.layout import LEAD_MS_MAX
from serving.store.operations.events import Arrival
from serving.store.store import Store
from serving.times import rfc3339
from tests.clocks import clock_ahead
from tests.pipelines.world import World, purchase

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
YEAR_MS = 365 * DAY_MS
SHARDS = 4
DEFINITIONS = {
    "ever": "events.purchase.count",
    "in_a_day": "events.purchase.count_1d",
    "in_a_minute": "events.purchase.count_1m",
    "minutes_ago": "events.purchase.last_seen_minutes_ago",
}


@pytest.mark.parametrize("light_events_max", [256, 0])
def test_an_event_of_the_future_counts_at_its_receipt_and_keeps_its_own_time_in_the_lake(
    redis_url: str, tmp_path: Path, light_events_max: int
) -> None:
    """An event of the future counts once, at once, and the same after the drain and a rebuild.

    Its sender's time stays to be read.
    """
    world = World(redis_url, tmp_path, shards=SHARDS, light_events_max=light_events_max)
    world.recover()
    world.define("trait", DEFINITIONS)
    ahead_ms = world.store.now_ms() + HOUR_MS
    counted = {"ever": 1, "in_a_day": 1, "in_a_minute": 1, "minutes_ago": 0}

    world.ingest([purchase("ada", 1, timestamp=rfc3339(ahead_ms))])
    assert world.values("ada") == counted
    world.drain().step()
    world.rebuild()

    assert world.values("ada") == counted
    (row,) = world.lake.scan(EVENTS).select("ts", "original_ts", "received_at").collect().to_dicts()
    assert row["original_ts"] == ahead_ms
    assert row["ts"] == row["received_at"] < ahead_ms


class OffStore(Store):
    """A store whose server's clock is off. Its script sees the true clock, or the last receipt if that is later."""

    off_ms = 0

    def now_ms(self) -> int:  # type: ignore[override]
        """The time by that clock."""
        return super().now_ms() + self.off_ms


class OffWorld(World):
    """A world in which Redis' clock may be set, and any API process takes the events."""

    def __init__(self, redis_url: str, folder: Path, **settings: Any) -> None:
        super().__init__(redis_url, folder, **settings)
        self.store: OffStore = OffStore(redis_url, SHARDS)

    def send(self, user: str, number: int, api_off_ms: int, how: str) -> int:
        """Sends a purchase of now through an API whose clock is off; returns when it was received."""
        now_ms = self.store.now_ms()
        raw = purchase(user, number)
        if how != "untimed":
            raw |= {"timestamp": rfc3339(now_ms)}
        if how == "sent":
            raw |= {"sentAt": rfc3339(now_ms)}
        event = accept(raw, Limits(), envelope=Envelope(received_ms=now_ms + api_off_ms))
        shard = shard_of(event.id, SHARDS)
        self.store.resume(shard, 0, now_ms)  # the script takes the last receipt for its clock
        catalogue = self.catalogue
        self.store.ingest([Arrival(event, tail_payload(event, catalogue.projection))], catalogue.projection_version)
        return self.store.shard_states()[shard].last_received_ms

    def answers(self, user: str) -> Answers:
        """The answers by that clock."""
        reading = self.store.follow(gather(self.store.operations, f"user:{user}"))
        catalogue = self.catalogue
        read_ms = reading.clock_ms + self.store.off_ms
        return person(reading._replace(clock_ms=read_ms), catalogue, DecodedBases()).answers(catalogue.definitions)


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("light_events_max", [256, 0])
@pytest.mark.parametrize("seed", range(3))
def test_no_event_is_hidden_by_clocks_that_are_off_or_step_back(
    redis_url: str, tmp_path: Path, seed: int, light_events_max: int
) -> None:
    """API processes are five minutes before and behind, and Redis' clock jumps either way between any two steps, by as
    much as a time daemon steps it. Every event counts from its acknowledgement on, receipts never go back, and no
    answer is of before the last one."""
    chance = random.Random(seed)
    world = OffWorld(redis_url, tmp_path, shards=SHARDS, light_events_max=light_events_max)
    world.recover()
    world.define("trait", DEFINITIONS)
    users = [f"u{number}" for number in range(6)]
    sent, received_ms, answered_ms = dict.fromkeys(users, 0), dict.fromkeys(range(SHARDS), 0), dict.fromkeys(users, 0)
    offs = set()
    for number in range(40):
        world.store.off_ms = chance.choice([-8, -4, 0, 0, 4, 8]) * MINUTE_MS
        offs.add(world.store.off_ms)
        if number and chance.random() < 0.2:
            world.drain().step()
            if chance.random() < 0.7:
                world.rebuild()
        user = chance.choice(users)
        came_ms = world.send(
            user, number, chance.choice([-5, 5]) * MINUTE_MS, chance.choice(["untimed", "timed", "sent"])
        )
        sent[user] += 1
        shard = shard_of(f"user:{user}", SHARDS)
        assert came_ms >= received_ms[shard]
        received_ms[shard] = came_ms

        for other in users:
            answers = world.answers(other)
            values = {key: answer.value for (_, key), answer in answers.values.items()}
            assert (values["ever"], values["in_a_day"]) == (sent[other], sent[other]), other
            if sent[other]:
                assert answers.now_ms >= answered_ms[other]
                assert values["minutes_ago"] >= 0
            assert not answers.warming and answers.exact
        answered_ms[user] = came_ms
    assert len(offs) > 2


@pytest.mark.parametrize("wiped", [False, True])
def test_a_clock_that_was_far_ahead_for_a_moment_leaves_later_events_alone(
    redis_url: str, tmp_path: Path, wiped: bool
) -> None:
    """Events that come after Redis' clock was a day ahead are received now, and answers are of now, in every execution;
    also when Redis was wiped in between. Each shard says how far ahead it was."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", DEFINITIONS)
    with clock_ahead(DAY_MS):
        world.ingest([purchase("ada", 1), purchase("bob", 1)])
    world.drain().step()
    if wiped:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        world.recover()
    before_ms = world.store.now_ms()

    world.ingest([purchase("ada", 2), purchase("eve", 1)])

    (state,) = world.store.shard_states()
    assert before_ms <= state.last_received_ms <= world.store.now_ms()
    assert state.ahead_ms >= before_ms + DAY_MS - MINUTE_MS
    counted = {"ever": 1, "in_a_day": 1, "in_a_minute": 1, "minutes_ago": 0}
    for _ in range(2):
        for user in ("ada", "eve"):
            assert world.answers(user).now_ms <= world.store.now_ms()
            assert world.values(user) == counted, user
        world.drain().step()
        world.rebuild()
    written = world.lake.latest(TRAITS).filter(pl.col("key") == "ever").select("id", "number").collect()
    assert dict(written.iter_rows()) == {"user:ada": 1, "user:bob": 0, "user:eve": 1}


def test_a_clock_that_was_ahead_by_as_much_as_a_time_daemon_steps_is_waited_for(redis_url: str, tmp_path: Path) -> None:
    """Receipts stand still until the clock is there again: an event that was acknowledged is never of the future."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", DEFINITIONS)
    with clock_ahead(LEAD_MS_MAX - MINUTE_MS):
        world.ingest([purchase("ada", 1)])
    (before,) = world.store.shard_states()

    world.ingest([purchase("ada", 2)])

    (after,) = world.store.shard_states()
    assert (after.last_received_ms, after.ahead_ms) == (before.last_received_ms, 0)
    assert world.values("ada") == {"ever": 2, "in_a_day": 2, "in_a_minute": 2, "minutes_ago": 0}


def with_rows_of_the_future(redis_url: str, tmp_path: Path) -> World:
    """A world of one shard that took three people's events by a clock two days ahead; Ada's is of 400 days ago."""
    world = World(redis_url, tmp_path, shards=1)
    world.recover()
    world.define("trait", DEFINITIONS)
    old = rfc3339(world.store.now_ms() - 400 * DAY_MS)
    with clock_ahead(2 * DAY_MS):
        world.ingest([purchase("ada", 1, timestamp=old), purchase("bob", 1), purchase("eve", 1)])
    return world


def test_retention_and_purge_see_rows_of_the_future(redis_url: str, tmp_path: Path) -> None:
    """A day that is still to come is closed, unless receipts may be there already: its old events go, and deleted
    people."""
    world = with_rows_of_the_future(redis_url, tmp_path)
    world.store.follow(delete_person(world.store.operations, "user:bob", "d1"))
    world.drain().step()
    now = datetime.fromtimestamp(world.store.now_ms() / 1000, UTC)

    did = maintain(world.lake, now, retention_days=30)
    purged = purge(world.store, world.lake, now)

    assert did["retention"]["removed"] == 1
    assert purged.rows["events"] == 1
    assert world.lake.scan(EVENTS).filter(kind="track").collect()["id"].to_list() == ["user:eve"]


@pytest.mark.parametrize(
    ("machine_ms", "redis_ms", "passed_ms", "dropped"),
    [
        (YEAR_MS, 0, MINUTE_MS, 0),
        (0, YEAR_MS, MINUTE_MS, 0),
        (YEAR_MS, YEAR_MS, MINUTE_MS, 0),
        (YEAR_MS, YEAR_MS, YEAR_MS, 1),
    ],
    ids=["the machine's is ahead", "Redis' is ahead", "both are, as on one machine", "a year has passed"],
)
def test_no_clock_that_is_ahead_for_a_moment_drops_what_is_to_be_kept(
    redis_url: str, tmp_path: Path, machine_ms: int, redis_ms: int, passed_ms: int, dropped: int
) -> None:
    """Retention drops events for good. So it goes by the earliest of all clocks, one of which nobody sets."""
    world = OffWorld(redis_url, tmp_path, retention_days=30)
    world.recover()
    world.ingest([purchase("ada", 1)])
    world.drain().step()
    off_ms = passed_s = 0
    clock = EarliestClock(world.store, lambda: Store.now_ms(world.store) + off_ms, lambda: passed_s)
    work = plain_work(world.store, world.lake, world.settings, clock)

    off_ms, world.store.off_ms, passed_s = machine_ms, redis_ms, passed_ms // 1000

    assert work.maintain()["retention"]["removed"] == dropped
    assert world.lake.events().collect().height == 1 - dropped


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("ahead_ms", [LEAD_MS_MAX - MINUTE_MS, DAY_MS])
@pytest.mark.parametrize("shards", [1, SHARDS])
def test_calls_after_a_clock_was_ahead_link_ids_again(
    redis_url: str, tmp_path: Path, shards: int, ahead_ms: int
) -> None:
    """An unlink and a delete by a clock that was ahead, near or far, hold no later call back: the ids are linked again,
    to the same person or another, live and in the batch. A repeat of an earlier call links nothing."""
    world = World(redis_url, tmp_path, shards=shards)
    world.recover()
    world.define("trait", {"ever": "events.purchase.count"})
    operations = world.store.operations
    first = [purchase(user, 1, anonymousId=f"{user}-phone") for user in ("ada", "bob", "cyd")]
    with clock_ahead(ahead_ms):
        world.ingest(first)
        for user in ("ada", "cyd"):
            world.store.follow(unlink_id(operations, f"anon:{user}-phone", "u1"))
        world.store.follow(delete_person(operations, "user:bob", "d1"))
    ids = [f"anon:{user}-phone" for user in ("ada", "bob", "cyd")]
    world.ingest(first)
    assert world.store.owners(ids) == [None, None, None]

    world.ingest([purchase(user, 2, anonymousId=f"{user}-phone") for user in ("ada", "bob")])
    world.ingest([purchase("eve", 1, anonymousId="cyd-phone")])

    owners = [owner.id if owner else None for owner in world.store.owners(ids)]
    assert owners == ["user:ada", "user:bob", "user:eve"]
    for step in ("live", "drained", "rebuilt"):
        for user, phone in (("ada", "ada-phone"), ("bob", "bob-phone"), ("eve", "cyd-phone")):
            known = world.answers(f"user:{user}").asof["ids"]
            assert set(known) == {f"user:{user}", f"anon:{phone}"}, (step, user)
        world.drain().step()
        world.rebuild()
    linked = people_of.owners(after_deletes(world.lake.events()))
    assert dict(linked.select("id", "owner").iter_rows()) == dict(zip(ids, owners, strict=True))


class Cut(Exception):
    """The process was killed here."""


class CutLake(Lake):
    """A lake whose process is killed after it rewrote some days."""

    def __init__(self, root: str, days: int) -> None:
        super().__init__(root)
        self.left = days

    def rewrite_once(self, table: Table, partition: Mapping[str, str], change: Change) -> None:
        """Rewrites, or is killed."""
        if self.left == 0:
            raise Cut
        self.left -= 1
        super().rewrite_once(table, partition, change)

    def events_version(self) -> int:
        """The version, unless the process is killed before a rebuild."""
        if self.left == 0:
            raise Cut
        return super().events_version()


@pytest.mark.parametrize("days", [0, 1, 2])
def test_a_restamp_that_was_killed_goes_on_by_the_same_span(redis_url: str, tmp_path: Path, days: int) -> None:
    """Before its first day, between two days and before its rebuild: rows keep what lies between them, in the lake and
    in the answers, although nothing came after them by which the span could be found again."""
    world = World(redis_url, tmp_path, shards=SHARDS)
    world.recover()
    world.define("trait", DEFINITIONS)
    for number, lead_ms in enumerate((2 * DAY_MS, 3 * DAY_MS)):
        with clock_ahead(lead_ms):
            world.ingest([purchase("ada", number), purchase("bob", number)])
            world.drain().step()
    received = world.lake.scan(EVENTS).sort("event_id").select("event_id", "received_at").collect()
    with pytest.raises(Cut):
        restamp(world.store, CutLake(world.lake.root, days), world.settings)

    restamp(world.store, world.lake, world.settings)

    after = world.lake.scan(EVENTS).sort("event_id").select("event_id", "received_at").collect()
    assert len(set(received["received_at"] - after["received_at"])) == 1
    assert world.values("ada")["in_a_day"] == 1 and world.values("ada")["ever"] == 2
    assert restamp(world.store, world.lake, world.settings) == Restamped()


def test_restamped_rows_count_when_they_came(redis_url: str, tmp_path: Path) -> None:
    """What a clock stamped that was ahead goes back by one span, in the lake and in Redis: it counts now, in its order
    and before what came later. Nothing is left to put right after it, and later events count on top."""
    world = World(redis_url, tmp_path, shards=SHARDS)
    world.recover()
    world.define("trait", DEFINITIONS)
    world.ingest([purchase("ada", 1), purchase("bob", 1, anonymousId="phone")])
    begun_ms = world.store.now_ms()
    old = rfc3339(begun_ms - 2 * HOUR_MS)
    with clock_ahead(DAY_MS):
        world.ingest([purchase("ada", 2), purchase("ada", 3, timestamp=old), purchase("eve", 1, anonymousId="tablet")])
        world.store.follow(delete_person(world.store.operations, "user:bob", "d1"))
    world.ingest([purchase("bob", 2, anonymousId="phone")])
    assert world.values("ada")["ever"] == 2  # one is of tomorrow

    did = restamp(world.store, world.lake, world.settings)

    assert (did.rows > 0, did.records > 0, did.span_ms > DAY_MS - HOUR_MS) == (True, True, True)
    now_ms = world.store.now_ms()
    rows = world.lake.scan(EVENTS).sort("shard", "seq").collect()
    assert rows["received_at"].max() <= now_ms and rows["ts"].max() <= now_ms  # type: ignore[operator]
    for _, of_shard in rows.group_by("shard"):
        assert of_shard.sort("seq")["received_at"].is_sorted()
    assert rows.filter(event_id="ada-3")["ts"].item() == rows.filter(event_id="ada-3")["original_ts"].item()
    assert all(state.ahead_ms == 0 for state in world.store.shard_states())
    for user, ever in (("ada", 3), ("bob", 1), ("eve", 1)):
        assert world.answers(user).now_ms <= world.store.now_ms()
        assert world.values(user)["ever"] == ever, user
    assert [owner and owner.id for owner in world.store.owners(["anon:phone", "anon:tablet"])] == [
        "user:bob", "user:eve",
    ]  # fmt: skip
    assert restamp(world.store, world.lake, world.settings) == Restamped()
    world.ingest([purchase("ada", 4)])
    assert world.values("ada")["ever"] == 4
    written = world.lake.latest(TRAITS).filter(pl.col("key") == "ever").select("id", "number").collect()
    assert dict(written.iter_rows())["user:ada"] == 3


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(("days_later", "is_seen"), [(0, True), (2, False), (3, True)])
def test_retention_and_purge_see_restamped_rows(redis_url: str, tmp_path: Path, days_later: int, is_seen: bool) -> None:
    """They stay in the day that the clock said. It is closed until it comes, is open while it lasts, as every day is,
    and is closed from then on: an old event goes, and a deleted person."""
    world = with_rows_of_the_future(redis_url, tmp_path)
    restamp(world.store, world.lake, world.settings)
    world.store.follow(delete_person(world.store.operations, "user:bob", "d1"))
    world.drain().step()
    now = datetime.fromtimestamp(world.store.now_ms() / 1000, UTC)
    rows = world.lake.scan(EVENTS).filter(kind="track").select("ingest_date", "received_at").collect()
    assert set(rows["ingest_date"]) == {(now + timedelta(days=2)).date()}
    assert rows["received_at"].max() <= world.store.now_ms()  # type: ignore[operator]
    later = now + timedelta(days=days_later)

    did = maintain(world.lake, later, retention_days=30)
    purged = purge(world.store, world.lake, later)

    assert did["retention"]["removed"] == is_seen
    assert purged.rows["events"] == is_seen
    left = world.lake.scan(EVENTS).filter(kind="track").collect()["id"].to_list()
    assert left == (["user:eve"] if is_seen else ["user:ada", "user:bob", "user:eve"])
