"""Analyses of API processes: one at a time on a host, the newest of a caller, and none that runs for ever."""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from pipelines.purge.purge import purge
from serving.app import engine_of
from serving.definitions.catalogue import StoredDefinition
from serving.lookups.analysis_runs import BELIEVED_MS, WAITING_MAX, Analysis, AnalysisRuns, Question
from serving.refusals import NotFound, TooMany
from serving.store import keys
from tests.pipelines.test_deletes import delete
from tests.pipelines.world import World, purchase

ENDED_WITHIN_S = 60.0


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with buyers."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.ingest(purchase(f"u{number}", number) for number in range(5))
    world.drain().step()
    return world


def with_runs(world: World, work: Callable[..., Awaitable[None]], processes: int = 1) -> None:
    """Runs some work with the analyses of so many processes, and stops them."""

    async def main() -> None:
        engines = [engine_of(world.settings) for _ in range(processes)]
        runs = [AnalysisRuns(engine) for engine in engines]
        try:
            await work(*runs)
        finally:
            for engine, of_engine in zip(engines, runs, strict=True):
                await of_engine.close()
                await engine.store.close()
                engine.admin_store.close()

    asyncio.run(main())


@contextmanager
def hosts_turn(world: World) -> Iterator[None]:
    """The turn of this host is another's."""
    with (world.settings.home / "analysis.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def ask(runs: AnalysisRuns, world: World, text: str, key: str | None = None, caller: str = "ann") -> Analysis:
    """The trend of a text."""
    return await runs.start(Question("trend", "segment", key, text), world.catalogue, caller)


async def ended(runs: AnalysisRuns, analysis: Analysis, state: str = "done") -> Analysis:
    """The analysis once it has ended, as it must."""
    async with asyncio.timeout(ENDED_WITHIN_S):
        while (found := await runs.find(analysis.id)).state in ("waiting", "running"):
            await asyncio.sleep(0.05)
    assert found.state == state, found.error
    return found


async def looked_at_while_it_ends(runs: AnalysisRuns, analysis: Analysis) -> None:
    """Looks at each step of what ends an analysis, until it is seen as cancelled."""
    async with asyncio.timeout(ENDED_WITHIN_S):
        while (await runs.find(analysis.id)).state != "cancelled":
            await asyncio.sleep(0)


@pytest.mark.deep
def test_one_runs_at_a_time_and_the_same_question_is_answered_at_once(world: World) -> None:
    """Also by another process, and for another caller, as long as nothing was drained or defined."""

    async def work(here: AnalysisRuns, there: AnalysisRuns) -> None:
        with hosts_turn(world):
            first, second = await ask(here, world, "events.purchase.count >= 1"), await ask(there, world, "true", "b")
            await asyncio.sleep(0.3)
            assert {(await here.find(one.id)).state for one in (first, second)} == {"waiting"}
        result = (await ended(here, first)).result
        await ended(there, second)
        again = await ask(there, world, "events.purchase.count >= 1", caller="bob")
        assert (again.state, again.result) == ("done", result)
        assert result is not None
        assert (result["points"][-1]["members"], result["total"]) == (5, 5)
        world.ingest([purchase("u9", 9)])
        world.drain().step()
        assert (await ask(there, world, "events.purchase.count >= 1", caller="bob")).state != "done"

    with_runs(world, work, processes=2)


@pytest.mark.deep
def test_what_a_caller_asks_anew_replaces_their_last_question(world: World) -> None:
    """In the same process and in another; the very same question goes on, and other callers' do too."""

    async def work(here: AnalysisRuns, there: AnalysisRuns) -> None:
        with hosts_turn(world):
            first = await ask(here, world, "true", "a")
            other = await ask(here, world, "true", "a", caller="bob")
            assert (await ask(there, world, "true", "a")).id == first.id
            second = await ask(here, world, "false", "a")
            assert (await here.find(first.id)).error == "its caller asked anew"
            third = await ask(there, world, "1 == 1", "a")
            await ended(here, second, "cancelled")
        await ended(there, third)
        await ended(here, other)

    with_runs(world, work, processes=2)


def test_any_process_cancels(world: World) -> None:
    """Whoever runs it; what was cancelled is not found from then on, nor what was forgotten once it had ended."""

    async def work(here: AnalysisRuns, there: AnalysisRuns) -> None:
        with hosts_turn(world):
            first, second = await ask(here, world, "true", "a"), await ask(here, world, "true", "b")
            assert (await here.cancel(first.id)).state == "cancelled"
            assert (await there.cancel(second.id)).state == "cancelled"
            with pytest.raises(NotFound):
                await there.find(second.id)
            with pytest.raises(NotFound):
                await looked_at_while_it_ends(here, second)
        done = await ended(here, await ask(here, world, "true", "c"))
        assert (await there.cancel(done.id)).state == "done"
        for analysis_id in (first.id, second.id, done.id, "unknown"):
            with pytest.raises(NotFound):
                await there.cancel(analysis_id)

    with_runs(world, work, processes=2)


def test_one_that_runs_ends_when_it_is_cancelled_or_its_process_stops(world: World) -> None:
    """Its job is killed, so the host's turn is free, and Redis says what became of it."""

    async def work(here: AnalysisRuns, there: AnalysisRuns) -> None:
        first = await ask(here, world, "events.purchase.count >= 1")
        async with asyncio.timeout(ENDED_WITHIN_S):
            while (await here.find(first.id)).state == "waiting":
                await asyncio.sleep(0.01)
        await here.close()
        assert (await there.find(first.id)).error == "the API was stopped"
        await ended(there, await ask(there, world, "events.purchase.count >= 2"))

    with_runs(world, work, processes=2)


def test_what_a_killed_process_said_is_not_believed_for_long(world: World) -> None:
    """While it waits and runs, its state lasts in Redis for some seconds from its last word on."""

    async def work(runs: AnalysisRuns) -> None:
        with hosts_turn(world), redis.Redis.from_url(str(world.settings.redis_url)) as server:
            analysis = await ask(runs, world, "true")
            assert 0 < server.pttl(keys.analysis(analysis.id)) <= BELIEVED_MS  # type: ignore[operator]

    with_runs(world, work)


def test_so_many_wait_and_the_next_is_asked_to_come_back(world: World) -> None:
    """Beyond the bound a call is 429."""

    async def work(runs: AnalysisRuns) -> None:
        with hosts_turn(world):
            for number in range(WAITING_MAX):
                await ask(runs, world, "true", f"k{number}")
            with pytest.raises(TooMany):
                await ask(runs, world, "true", "one more")

    with_runs(world, work)


def test_who_asks_many_times_at_once_gets_no_further(world: World) -> None:
    """The bound holds for calls that come together, and one definition of a caller waits once."""

    async def work(runs: AnalysisRuns) -> None:
        with hosts_turn(world):
            of_one = await asyncio.gather(*(ask(runs, world, f"{number} == 1", "k") for number in range(8)))
            states = [(await runs.find(one.id)).state for one in of_one]
            assert sorted(states) == ["cancelled"] * 7 + ["waiting"]
            calls = (ask(runs, world, "true", f"k{number}") for number in range(2 * WAITING_MAX))
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(answer, Analysis) for answer in answers) == WAITING_MAX - 1
            assert sum(isinstance(answer, TooMany) for answer in answers) == WAITING_MAX + 1

    with_runs(world, work)


def test_an_answer_shows_nobody_once_somebody_was_deleted(world: World) -> None:
    """Whichever process tells it: the sample of those who leave is empty, and their count stands. A purge drops it."""
    world.define("segment", {"all": "true"})
    after = world.catalogue.with_definition(StoredDefinition(kind="segment", key="all", expression="false"))

    async def work(here: AnalysisRuns, there: AnalysisRuns) -> None:
        question = Question("impact", "segment", "all", "false")
        found = await ended(here, await here.start(question, world.catalogue, "ann", after))
        assert len(leaving(await there.find(found.id))["sample"]) == 5
        delete(world, "user:u1")
        assert leaving(await there.find(found.id)) == {"count": 5, "sample": []}
        world.drain().step()
        purge(world.store, world.lake)
        with pytest.raises(NotFound):
            await there.find(found.id)

    with_runs(world, work, processes=2)


def leaving(analysis: Analysis) -> dict[str, Any]:
    """Those who leave the definition that is edited."""
    assert analysis.result is not None
    found: dict[str, Any] = analysis.result["definitions"][0]["leaves"]
    return found


@pytest.mark.deep
def test_a_delete_is_a_new_question(world: World) -> None:
    """Nobody who is deleted is in an answer that was found before."""

    async def work(runs: AnalysisRuns) -> None:
        before = await ended(runs, await ask(runs, world, "true"))
        delete(world, "user:u1")
        after = await ended(runs, await ask(runs, world, "true"))
        assert before.result is not None
        assert after.result is not None
        assert (before.result["total"], after.result["total"]) == (5, 4)

    with_runs(world, work)
