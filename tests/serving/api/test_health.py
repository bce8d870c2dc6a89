"""Health of the whole and of each part: real checks, 503 where one fails, and nothing that strangers must not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.schemas import TABLES
from serving.api.health import NEEDS
from serving.settings import Settings
from tests.pipelines.world import World
from tests.running import RunningStack
from tests.serving.local_api import NOWHERE, answers, get

pytestmark = pytest.mark.xdist_group("stack")

PATHS = [f"/{part}/health" for part in NEEDS]


def settings_of(home: Path, redis_url: str) -> Settings:
    """Settings whose lake is a folder under home."""
    return Settings(home=home, redis_url=redis_url, lake_uri=str(home / "lake"))


@pytest.mark.parametrize("part", NEEDS)
def test_a_part_that_works_says_what_it_checked(stack: RunningStack, part: str) -> None:
    """The answer is 200 without a key: status, service, an RFC 3339 time, the database, and a check for each need."""
    answer = stack.call("GET", f"/{part}/health", None)
    body = answer.json()

    assert (answer.status_code, body["status"], body["service"], body["database"]) == (200, "ok", part, "connected")
    assert body["timestamp"].endswith("Z")
    assert tuple(body["checks"]) == NEEDS[part]
    assert body["checks"]["database"]["latency"] > 0
    assert body.get("storage") == ("connected" if part == "exports" else None)


def test_storage_is_listed_and_nothing_is_written(stack: RunningStack) -> None:
    """The health of exports, asked for often, leaves nothing but tables under the lake's root."""
    root, tables = Path(stack.stack.lake_uri), {table.name for table in TABLES}
    before = {path.name for path in root.iterdir()} - tables
    for _ in range(5):
        assert stack.call("GET", "/exports/health", None).status_code == 200

    assert {path.name for path in root.iterdir()} - tables == before


def test_without_redis_every_part_is_503(tmp_path: Path) -> None:
    """The answer names Redis, and not its address or its password (D-40: it was always 200)."""
    responses = answers(settings_of(tmp_path, NOWHERE), [get(path) for path in [*PATHS, "/health"]])

    assert {answer.status_code for answer in responses} == {503}
    assert all(answer.json()["status"] == "error" for answer in responses)
    assert responses[0].json()["database"] == "disconnected"
    assert "127.0.0.1" not in str([answer.text for answer in responses])
    assert "hidden-password" not in str([answer.text for answer in responses])


def test_without_the_lake_events_and_decisions_go_on(tmp_path: Path, redis_url: str) -> None:
    """Parts that need the lake are 503 and name no path; the others are 200."""
    world = World(redis_url, tmp_path / "world")
    world.recover()
    world.store.beat("worker", b"{}", 60_000)

    responses = answers(settings_of(tmp_path / "nothing", redis_url), [get(path) for path in PATHS])

    assert {part: answer.status_code for part, answer in zip(NEEDS, responses, strict=True)} == {
        "ingest": 200,
        "identity": 200,
        "traits": 503,
        "segments": 503,
        "decide": 200,
        "admin": 503,
        "exports": 503,
    }
    assert responses[-1].json()["storage"] == "disconnected"
    assert str(tmp_path) not in str([answer.text for answer in responses])


def test_a_full_log_is_no_health_of_ingest(tmp_path: Path, redis_url: str) -> None:
    """When the log is full new events get 429; the check says so before, with the numbers."""
    world = World(redis_url, tmp_path)
    world.recover()
    world.ingest({"type": "track", "userId": "ada", "event": "e", "messageId": str(n)} for n in range(3))
    settings = settings_of(tmp_path, redis_url).model_copy(update={"backlog_entries_max": 16})

    (answer,) = answers(settings, [get("/ingest/health")])

    assert answer.status_code == 503
    assert answer.json()["checks"]["backlog"] == {"status": "error", "lag_events": 3, "lag_events_max": 16}


def test_what_a_part_says_of_its_error_stays_inside(tmp_path: Path, redis_url: str) -> None:
    """A failing worker is an error; the text of its error, which may name paths, is not repeated."""
    world = World(redis_url, tmp_path)
    world.recover()
    world.store.beat("worker", b'{"error": "/srv/secret/lake: no space left"}', 60_000)

    (answer,) = answers(settings_of(tmp_path, redis_url), [get("/traits/health")])

    assert answer.status_code == 503
    assert "secret" not in answer.text


def test_receipts_of_the_future_show(tmp_path: Path, redis_url: str) -> None:
    """A clock that went back a little is told. One that was far ahead is an error until its rows are put right."""
    world = World(redis_url, tmp_path, shards=16)
    world.recover()
    settings = settings_of(tmp_path, redis_url)

    def clock() -> dict[str, object]:
        (answer,) = answers(settings, [get("/health")])
        check: dict[str, object] = answer.json()["checks"]["clock"]
        return check

    assert clock() == {"status": "ok", "ahead_ms": 0}
    world.store.resume(3, 0, world.store.now_ms() + 60_000)
    ahead = clock()
    assert ahead["status"] == "ok"
    assert 0 < int(str(ahead["ahead_ms"])) <= 60_000
    world.store.resume(4, 0, world.store.now_ms() + 86_400_000)
    assert clock()["status"] == "error"
