"""A lake that cannot be written delays the history of definitions and the audit log; definitions change anyway."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import redis

from serving.definitions import saving
from serving.store import keys
from tests.pipelines.world import World
from tests.serving.local_api import answers
from tests.small_s3 import SmallS3

ADMIN = {"Authorization": "Bearer admin"}
HISTORY = "/v1/admin/segments/big/history"


@pytest.fixture
def world(redis_url: str, tmp_path: Path, object_store: SmallS3) -> World:
    """A system with one trait, whose lake is in an object store."""
    world = World(redis_url, tmp_path, lake_root=f"s3://{object_store.bucket}/lake", shards=2, admin_key="admin")
    world.settings = world.settings.model_copy(update={"lake_uri": world.lake.root})
    world.recover()
    world.define("trait", {"spent": "events.purchase.amount.sum"})
    return world


def ask(world: World, *calls: tuple[str, str] | tuple[str, str, dict[str, object]]) -> list[httpx.Response]:
    """What an administrator's calls are answered."""
    return answers(
        world.settings,
        [httpx.Request(call[0], f"http://api{call[1]}", headers=ADMIN, json=dict(*call[2:]) or None) for call in calls],
    )


def test_definitions_change_while_the_lake_cannot_be_written(world: World, object_store: SmallS3) -> None:
    """A save, a change and a delete count at once, and say that their history is pending. The history shows them, a
    rollback finds them, and health says what waits. Then history and audit log have each once, by themselves."""
    object_store.before = lambda method, key: 403 if method == "PUT" else None
    created, changed, taken, gone, history = ask(
        world,
        ("POST", "/v1/admin/segments", {"key": "big", "rule": "spent > 10"}),
        ("PUT", "/v1/admin/segments/big", {"rule": "spent > 20"}),
        ("POST", "/v1/admin/segments", {"key": "big", "rule": "true"}),
        ("DELETE", "/v1/admin/segments/big"),
        ("GET", HISTORY),
    )
    assert [answer.status_code for answer in (created, changed, taken, gone, history)] == [200, 200, 409, 200, 200]
    assert [created.json()["segment"]["history"], changed.json()["segment"]["history"]] == ["pending"] * 2
    assert gone.json() == {"history": "pending"}
    versions = history.json()["versions"]
    assert [(version["expression"], version["deleted"]) for version in versions] == [
        ("spent > 20", True),
        ("spent > 20", False),
        ("spent > 10", False),
    ]
    back, health = ask(
        world,
        ("POST", "/v1/admin/segments/big/rollback", {"version": created.json()["segment"]["version"]}),
        ("GET", "/health"),
    )
    assert back.json()["segment"]["rule"] == "spent > 10"
    assert health.json()["checks"]["history"]["waiting"] == 4

    object_store.heal()
    assert saving.write_down(world.store, world.lake.append_definitions)
    again, audit, listed, health = ask(
        world, ("GET", HISTORY), ("GET", "/v1/admin/audit"), ("GET", "/v1/admin/segments/big"), ("GET", "/health")
    )
    assert len(again.json()["versions"]) == 4
    assert [entry["action"] for entry in audit.json()["entries"] if entry["key"] == "big"] == [
        "rollback",
        "delete",
        "save",
        "create",
    ]
    assert listed.json()["segment"]["history"] is None
    assert health.json()["checks"]["history"] == {"status": "ok", "waiting": 0}


def test_health_says_that_the_lake_cannot_be_written(world: World) -> None:
    """A version that waits for longer than a moment is an error of health, which names no definition."""
    save(world, world.store.now_ms())
    wait_longer(world, 60_000)

    (health,) = ask(world, ("GET", "/health"))

    check = health.json()["checks"]["history"]
    assert (check["status"], check["waiting"]) == ("error", 1) and check["waiting_s"] >= 60
    assert "big" not in health.text


@pytest.mark.parametrize("off_ms", [-7_200_000, 7_200_000], ids=["behind", "ahead"])
def test_the_clock_of_a_saver_says_nothing_about_the_lake(world: World, off_ms: int) -> None:
    """An API whose machine's clock is two hours off raises no alarm about what was saved just now, and hides none."""
    save(world, world.store.now_ms() + off_ms)
    (now,) = ask(world, ("GET", "/health"))
    wait_longer(world, 60_000)
    (later,) = ask(world, ("GET", "/health"))

    assert now.json()["checks"]["history"]["waiting_s"] < 3_600
    check = later.json()["checks"]["history"]
    assert check["status"] == "error" and 60 <= check["waiting_s"] < 3_600


def save(world: World, now_ms: int) -> None:
    """A save by a machine of this clock, which nobody has written down."""
    saving.save(world.store, world.lake.holds_events, saving.Definition("segment", "big", "spent > 10"), now_ms)


def wait_longer(world: World, ms: int) -> None:
    """What waits for the lake has waited for so much longer."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        entries = client.xrange(keys.unwritten())
        client.delete(keys.unwritten())
        for entry_id, fields in entries:
            since = {keys.ENTRY_RECEIVED: int(fields[keys.ENTRY_RECEIVED]) - ms}
            client.xadd(keys.unwritten(), {**fields, **since}, entry_id)


@pytest.mark.deep
def test_a_silent_lake_holds_no_save_up(world: World, object_store: SmallS3) -> None:
    """While the store does not answer at all, a save waits for the look at it and no longer, and counts."""
    object_store.fall_silent()
    try:
        created, changed = ask(
            world,
            ("POST", "/v1/admin/flags", {"key": "kill", "rule": "true"}),
            ("PUT", "/v1/admin/flags/kill", {"enabled": False}),
        )
    finally:
        object_store.heal()
    assert (created.status_code, changed.status_code) == (200, 200)
    assert changed.json()["flag"]["history"] == "pending"
    assert max(created.elapsed.total_seconds(), changed.elapsed.total_seconds()) < 10


def test_a_full_queue_is_503_until_the_lake_takes_it(world: World) -> None:
    """The refusal says what to look at, and when to try again."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.delete(keys.unwritten())
        client.xadd(keys.unwritten(), {"e": "x" * 9_000_000}, "0-1")
        (refused,) = ask(world, ("POST", "/v1/admin/segments", {"key": "big", "rule": "spent > 10"}))
        client.delete(keys.unwritten())
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) > 0
    assert "the lake cannot be written" in refused.text
    (created,) = ask(world, ("POST", "/v1/admin/segments", {"key": "big", "rule": "spent > 10"}))
    assert created.status_code == 200
