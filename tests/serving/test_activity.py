"""What processes note of their activity, and what the numbers of all of them say together."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from serving.activity import (
    DAY_MS,
    DAYS_KEPT,
    MINUTE_MS,
    NO_ACTIVITY,
    STALE_DAYS,
    Answers,
    FlagActivity,
    Recorder,
    is_stale,
    of_flags,
    percentile_ms,
    summed,
)
from serving.api.activity import work_of
from serving.app import engine_of
from serving.engine import Engine
from serving.http.tally import SECONDS, Spread
from serving.people.decide import Decision
from serving.settings import Settings
from serving.store.operations.activity import DAY_FIELDS_MAX
from serving.store.store import Store

KNOWN = frozenset({"checkout", "colour"})


def decision(variant: str | None = None, allow: bool = True) -> Decision:
    """A decision with this answer."""
    return Decision(allow, "STATIC", [], variant=variant)


def in_processes(
    url: str, home: Path, count: int, work: Callable[[list[Engine], list[Recorder]], Awaitable[None]]
) -> None:
    """Runs the work with so many API processes' worth of engines on one Redis."""

    async def run() -> None:
        engines = [engine_of(Settings(home=home, redis_url=url)) for _ in range(count)]
        try:
            await work(engines, [Recorder(engine, work_of) for engine in engines])
        finally:
            for engine in engines:
                await engine.store.close()
                engine.admin_store.close()

    anyio.run(run)


def days_now(store: Store, engine_ms: int) -> dict[int, dict[str, int]]:
    """The numbers of all days that are kept."""
    today = engine_ms // DAY_MS
    days = range(today - DAYS_KEPT + 1, today + 1)
    return dict(zip(days, store.activity_days(days), strict=True))


def test_two_processes_are_one_activity(redis_url: str, tmp_path: Path) -> None:
    """Events, decisions and latencies of both add up; a second note adds only what is new."""

    async def work(engines: list[Engine], recorders: list[Recorder]) -> None:
        for engine in engines:
            engine.tally.ingested(5, 1)
            engine.tally.decided([decision(), decision()])
            engine.tally.answered("GET", "/v1/decide", 200, 0.003)
            engine.tally.answered("POST", "/v1/track", 200, 0.02)
            engine.tally.answered("GET", "/v1/admin/metrics", 200, 3.0)
        for recorder in recorders:
            await recorder.note()
        engines[0].tally.ingested(1, 0)
        for recorder in recorders:
            await recorder.note()

    in_processes(redis_url, tmp_path, 2, work)

    with Store(redis_url) as store:
        now = store.now_ms() // MINUTE_MS
        total = summed(store.activity_minutes(range(now - 2, now + 2)), 0)
    assert (total.events, total.decisions) == (9, 4)
    assert (total.decide.count, total.ingest.count) == (2, 2)
    assert total.decide.p50 is not None and 2.5 < total.decide.p50 <= 5
    assert total.ingest.p99 is not None and 10 < total.ingest.p99 <= 25


def test_flags_are_counted_by_name_and_in_bulk_and_by_variant(redis_url: str, tmp_path: Path) -> None:
    """Only a flag that was named has a time at which it was asked; a key that is no flag is not counted."""

    async def work(engines: list[Engine], recorders: list[Recorder]) -> None:
        for engine in engines:
            engine.tally.answered_app({"checkout": decision(), "no_flag": decision()}, KNOWN, by_name=True)
            engine.tally.answered_app(
                {"checkout": decision(allow=False), "colour": decision("red")}, KNOWN, by_name=False
            )
        for recorder in recorders:
            await recorder.note()
            await recorder.note()

    in_processes(redis_url, tmp_path, 2, work)

    with Store(redis_url) as store:
        now_ms = store.now_ms()
        flags = of_flags(days_now(store, now_ms), range(now_ms // DAY_MS - 1, now_ms // DAY_MS + 1))
    assert flags.keys() == KNOWN
    assert flags["checkout"].by_variant() == {"off": Answers(in_bulk=2), "on": Answers(by_name=2)}
    assert flags["colour"].by_variant() == {"red": Answers(in_bulk=2)}
    assert flags["colour"].last_asked_ms is None
    assert flags["checkout"].last_asked_ms is not None and abs(flags["checkout"].last_asked_ms - now_ms) < 60_000


def test_a_day_has_a_bound(redis_url: str) -> None:
    """Fields beyond it are left out; those that are there go on counting, and the day runs out by itself."""
    with Store(redis_url) as store, redis.Redis.from_url(redis_url) as client:
        for name in ("a", "b"):
            fields = {f"{name}{number}": 1 for number in range(DAY_FIELDS_MAX - 10)}
            store.add_activity(1, 1, {}, 1, fields, {})
        store.add_activity(1, 1, {}, 1, {"a0": 1, "c": 1}, {})

        (numbers,) = store.activity_days(range(1, 2))
        assert len(numbers) == DAY_FIELDS_MAX
        assert numbers["a0"] == 2 and "c" not in numbers
        assert all(client.ttl(key) > 0 for key in client.scan_iter("activity:*"))


def test_activity_is_the_first_to_go(tmp_path: Path) -> None:
    """While memory is nearly full nothing is noted, though events are still taken."""

    async def work(engines: list[Engine], recorders: list[Recorder]) -> None:
        engines[0].tally.ingested(1, 0)
        await recorders[0].note()

    with (
        EmbeddedRedis(tmp_path / "redis") as server,
        Store(server.url) as store,
        redis.Redis.from_url(server.url) as client,
    ):
        client.set("filler", bytes(8 * 2**20))
        used = store.memory().used
        client.config_set("maxmemory", used + used // 20)
        assert store.memory().is_nearly_full and not store.memory().is_full
        in_processes(server.url, tmp_path, 1, work)
        assert list(client.scan_iter("activity:*")) == []
        client.config_set("maxmemory", 0)
        in_processes(server.url, tmp_path, 1, work)
        assert list(client.scan_iter("activity:*"))


def test_percentiles_of_merged_counts_are_those_of_all_requests() -> None:
    """Of several processes' latencies each percentile is in the bucket of the true one."""
    chance = random.Random(7)
    latencies = [[chance.expovariate(1 / mean) for _ in range(400)] for mean in (0.002, 0.03, 0.4)]
    merged = [0] * (len(SECONDS) + 1)
    for of_process in latencies:
        spread = Spread(SECONDS)
        for seconds in of_process:
            spread.note(seconds)
        merged = [one + other for one, other in zip(merged, spread.counts, strict=True)]
    everything = sorted(seconds for of_process in latencies for seconds in of_process)

    for share in (0.5, 0.95, 0.99):
        true_s = everything[int(share * len(everything)) - 1]
        upper_s = next(bound for bound in SECONDS if true_s <= bound)
        lower_s = max((bound for bound in SECONDS if bound < true_s), default=0.0)
        found_ms = percentile_ms(merged, share)
        assert found_ms is not None and 1000 * lower_s <= found_ms <= 1000 * upper_s


@pytest.mark.parametrize(
    ("changed", "asked", "since", "needed", "stale"),
    [
        (100, None, 100, False, True),
        (100, 40, 100, False, True),
        (100, 29, 100, False, False),
        (29, None, 100, False, False),
        (100, None, 29, False, False),
        (100, None, None, False, False),
        (100, None, 100, True, False),
    ],
    ids=["never", "long ago", "lately", "changed lately", "a young record", "no record", "needed"],
)
def test_a_flag_is_stale_when_no_app_named_it_for_long(
    changed: int, asked: int | None, since: int | None, needed: bool, stale: bool
) -> None:
    """Days ago of the last change, of the last naming, and of the beginning of the record."""
    now_ms = 1_000 * DAY_MS

    def ago(days: int | None) -> int | None:
        return None if days is None else now_ms - days * DAY_MS

    found = NO_ACTIVITY if asked is None else FlagActivity({}, ago(asked))
    assert STALE_DAYS == 30
    assert is_stale(found, ago(changed) or 0, ago(since), needed, now_ms) is stale
