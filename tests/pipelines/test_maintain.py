"""Compaction, checkpoints and vacuum change no answer and no row, whatever the drain is doing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from expressions.batch.counting import counted
from expressions.batch.frames import person_answers, values_of
from expressions.definitions import Key
from expressions.rules.deletes import of_ids
from lake.folder import Folder
from lake.schemas import EVENTS, MEMBERSHIPS, RUNS, TABLES, TRAITS
from pipelines.maintain import maintain
from pipelines.packing import sort_closed_days
from pipelines.rebuild import rebuild_at
from serving.history import latest_undeleted
from serving.times import rfc3339
from tests.pipelines.world import World, purchase

STEPS = ("checked", "read", "before_write", "after_write")


def tomorrow(world: World) -> datetime:
    """A day on which today's partition is closed."""
    return datetime.fromtimestamp(world.store.now_ms() / 1000, UTC) + timedelta(days=1)


def drained_in_parts(world: World, first: int, parts: int) -> None:
    """Drains purchases of a few users in so many small commits."""
    for number in range(first, first + parts):
        world.ingest(purchase(f"u{user}", number, properties={"amount": number}) for user in range(4))
        world.drain().step()


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with some commits in the lake."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count", "spent": "events.purchase.amount.sum"})
    drained_in_parts(world, 0, 6)
    return world


def test_compaction_leaves_every_row_and_how_far_each_log_is_in(world: World) -> None:
    """Compaction leaves fewer files with the same rows and seqs, and a rebuild answers the same."""
    before = world.lake.events().sort("id", "seq").collect()
    upto = world.lake.transaction_versions(None, 4)
    files = len(world.lake.open(EVENTS).file_uris())
    values = world.values("u1")

    did = maintain(world.lake, tomorrow(world))

    assert did["events"]["compacted"] == files > len(world.lake.open(EVENTS).file_uris())
    assert world.lake.events().sort("id", "seq").collect().equals(before)
    assert world.lake.transaction_versions(None, 4) == upto
    world.rebuild()
    assert world.values("u1") == values == {"orders": 6, "spent": 15}


def test_maintenance_that_finds_nothing_to_do_writes_nothing(world: World) -> None:
    """A second maintenance leaves every table at its version, though a closed day has several files."""
    world.rebuild()
    rebuild_at(world.store, world.lake, world.store.now_ms())
    world.ingest(purchase(f"u{number}", 1_000 + number, properties={"amount": 1}) for number in range(3_000))
    world.drain().step()
    sort_closed_days(world.lake, tomorrow(world).date().isoformat(), file_bytes=10_000)
    assert len(world.lake.open(EVENTS).file_uris()) > 1
    maintain(world.lake, tomorrow(world), retention_days=30)
    before = {table.name: world.lake.open(table).version() for table in TABLES}

    maintain(world.lake, tomorrow(world), retention_days=30)

    assert {table.name: world.lake.open(table).version() for table in TABLES} == before


def test_a_version_that_a_reader_has_pinned_can_still_be_read(world: World) -> None:
    """Files that were compacted away stay for a day."""
    pinned = world.lake.events_version()
    before = world.lake.events(pinned).sort("id", "seq").collect()

    maintain(world.lake, tomorrow(world))

    assert world.lake.events(pinned).sort("id", "seq").collect().equals(before)


@pytest.mark.parametrize("step", STEPS)
def test_a_drain_that_meets_a_compaction_commits_every_event_once(world: World, step: str) -> None:
    """A compaction that commits at any step of the drain's round costs no event and doubles none."""
    world.ingest(purchase(f"u{user}", 100) for user in range(4))

    def on_step(reached: str) -> None:
        if reached == step:
            maintain(world.lake, tomorrow(world))

    world.drain(on_step).step()
    drained_in_parts(world, 101, 1)

    assert [len(world.seqs(shard)) for shard in range(4)] == world.lake.transaction_versions(None, 4)
    for shard in range(4):
        assert world.seqs(shard) == list(range(1, len(world.seqs(shard)) + 1))
    assert world.lake.events().collect().height == 4 * 8


def test_today_is_left_alone(world: World) -> None:
    """The partition that the drain writes to is not rewritten."""
    files = set(world.lake.open(EVENTS).file_uris())

    did = maintain(world.lake, tomorrow(world) - timedelta(days=1))

    assert did["events"]["compacted"] == 0
    assert set(world.lake.open(EVENTS).file_uris()) == files


def test_exports_are_dropped_when_they_are_old_enough(world: World) -> None:
    """Exports go after a number of days, which is a setting. The tables beside them stay."""
    exports = Folder(world.lake.root, "exports")
    exports.put("segment_a_2026-01-01.csv", iter([b"user_id"]))
    now = datetime.now(UTC)

    assert maintain(world.lake, now + timedelta(days=6))["exports"] == {"removed": 0}
    assert maintain(world.lake, now + timedelta(days=2), export_days=1)["exports"] == {"removed": 1}
    assert exports.listed() == []
    assert world.lake.events().collect().height == 24


def test_retention_drops_old_events_of_closed_days_and_a_rebuild_counts_what_is_left(world: World) -> None:
    """Retention goes by the time of the event. Lifetime aggregates forget with the next rebuild, and links and deletes
    stay (D-30)."""
    old = rfc3339(world.store.now_ms() - 40 * 86_400_000)
    world.ingest([purchase("u1", 900, timestamp=old, properties={"amount": 500}), purchase("u2", 901, anonymousId="d")])
    world.drain().step()
    world.rebuild()
    assert world.values("u1") == {"orders": 7, "spent": 515}

    today = tomorrow(world) - timedelta(days=1)
    assert maintain(world.lake, today, retention_days=30)["retention"]["removed"] == 0
    assert maintain(world.lake, tomorrow(world), retention_days=30)["retention"]["removed"] == 1
    assert maintain(world.lake, tomorrow(world), retention_days=30)["retention"]["removed"] == 0
    assert world.lake.events().filter(pl.col("kind") == "link").collect().height == 1
    world.rebuild()
    assert world.values("u1") == {"orders": 6, "spent": 15}
    assert maintain(world.lake, tomorrow(world) + timedelta(days=60), retention_days=30)["retention"]["removed"] == 25
    assert world.values("anon:d")["orders"] == 7


def test_retention_keeps_to_the_millisecond_what_a_window_of_its_length_holds(world: World) -> None:
    """At the instant of the maintenance: the window of as many days answers as before, the lifetime forgets, and an
    event of exactly so many days ago is the oldest that stays."""
    now = tomorrow(world)
    edge_ms = int(now.timestamp() * 1000) - 30 * 86_400_000
    world.define("trait", {"lately": "events.purchase.count_30d", "longer": "events.purchase.count_31d"})
    world.ingest(
        purchase("edge", 10 + after_ms, timestamp=rfc3339(edge_ms + after_ms)) for after_ms in (-2, -1, 0, 1, 2)
    )
    world.drain().step()

    def values() -> dict[str, object]:
        catalogue, ids = world.catalogue, ["user:edge"]
        rows = counted(of_ids(world.lake.events(), ids))
        keys: list[Key] = [("trait", name) for name in ("lately", "longer", "orders")]
        answers = person_answers(
            rows, [catalogue.bounds[key] for key in keys], edge_ms + 30 * 86_400_000, catalogue.zone
        )
        return {key[1]: values_of(answers, key)["user:edge"] for key in keys}

    assert values() == {"lately": 2, "longer": 5, "orders": 5}
    assert maintain(world.lake, now, retention_days=30)["retention"]["removed"] == 2
    assert values() == {"lately": 2, "longer": 3, "orders": 3}
    assert world.lake.events().filter(id="user:edge").select(pl.col("ts").min()).collect().item() == edge_ms

    world.rebuild()
    assert world.values("edge") == {"lately": 3, "longer": 3, "orders": 3, "spent": 0}


def test_retention_drops_old_refused_events_and_results_as_of_a_time_and_keeps_what_admins_did(world: World) -> None:
    """Refused events go, since they hold what somebody sent. Answers as of a time go by the time they were computed.
    The audit log and the definitions stay."""
    now_ms = world.store.now_ms()
    world.lake.append_rejected(
        [
            (40 - days, {"received_at": now_ms - days * 86_400_000, "event": f"sent {days} days ago"})
            for days in (31, 28)
        ]
    )
    world.lake.append_audit({"at": now_ms - 31 * 86_400_000})
    world.define("segment", {"keen": "events.purchase.count > 0"})
    rebuild_at(world.store, world.lake, now_ms - 90 * 86_400_000)
    rebuild_at(world.store, world.lake, now_ms)
    world.rebuild()
    definitions, acts = len(world.lake.definitions()), world.lake.audit().collect().height
    counts = [(table, is_latest) for table in (TRAITS, MEMBERSHIPS) for is_latest in (True, False)]

    def rows() -> list[int]:
        return [
            world.lake.scan(table).filter(pl.col("is_latest") == is_latest).collect().height
            for table, is_latest in counts
        ]

    before = rows()
    assert all(before)
    maintain(world.lake, tomorrow(world), retention_days=30)
    assert world.lake.rejected().collect()["event"].to_list() == ["sent 28 days ago"]
    assert rows() == before

    maintain(world.lake, tomorrow(world) + timedelta(days=30), retention_days=30)
    assert world.lake.rejected().collect().is_empty()
    assert rows() == [before[0], 0, before[2], 0]
    assert world.lake.audit().collect().height == acts > 0
    assert len(world.lake.definitions()) == definitions


def test_without_a_retention_everything_is_kept(world: World) -> None:
    """Without a retention only the rows of old rebuilds go, which say nothing of anybody."""
    world.lake.append_rejected([(1, {"received_at": 1, "event": "sent long ago"})])
    did = maintain(world.lake, tomorrow(world) + timedelta(days=1_000))
    assert "retention" not in did
    assert world.lake.rejected().collect().height == 1


def test_what_rebuilds_did_is_forgotten_unless_something_needs_it(world: World) -> None:
    """Rows of rebuilds of single ids go after a day, those of everybody after a month. New builds still get greater
    numbers, and answers are still read with what their rebuild covered."""
    (full,) = world.lake.scan(RUNS).collect()["build"]  # of the recovery
    as_of = rebuild_at(world.store, world.lake, world.store.now_ms())
    last_full = world.rebuild()
    ids = [world.rebuild(["user:u1"]) for _ in range(3)]

    def builds() -> list[int]:
        return sorted(world.lake.scan(RUNS).collect()["build"])

    everything = builds()
    assert everything == [full, *(run.build for run in (as_of, last_full, *ids))]
    maintain(world.lake, tomorrow(world) - timedelta(hours=1))
    assert builds() == everything

    assert maintain(world.lake, tomorrow(world) + timedelta(minutes=1))["forgotten_runs"] == 2
    assert builds() == [full, as_of.build, last_full.build, ids[-1].build]
    assert maintain(world.lake, tomorrow(world) + timedelta(days=30))["forgotten_runs"] == 1
    assert builds() == [as_of.build, last_full.build, ids[-1].build]
    assert (world.lake.last_run() or {})["build"] == last_full.build
    assert world.lake.last_build() == ids[-1].build
    assert latest_undeleted(world.lake, TRAITS).collect().height == 8


def test_an_id_of_which_nothing_is_left_takes_no_memory_and_answers_as_before(world: World) -> None:
    """The record of an id without events goes with the second full rebuild that found none, and answers stay. With its
    next event the id is whole again."""
    old = rfc3339(world.store.now_ms() - 40 * 86_400_000)
    world.ingest([purchase("gone", 1, timestamp=old, properties={"amount": 5})])
    world.drain().step()
    world.rebuild()
    maintain(world.lake, tomorrow(world), retention_days=30)
    world.rebuild()
    before = world.answers("gone")
    assert world.values("gone") == {"orders": 0, "spent": 0}

    world.rebuild()
    after = world.answers("gone")
    assert "user:gone" not in [id for _, id in world.store.scan_records(0, 10_000)[1]]
    assert (after.values, after.exact, after.warming, after.lacking) == (before.values, True, frozenset(), ())

    world.ingest([purchase("gone", 2, properties={"amount": 7})])
    assert world.values("gone") == {"orders": 1, "spent": 7}
    world.drain().step()
    world.rebuild()
    assert world.values("gone") == {"orders": 1, "spent": 7}
