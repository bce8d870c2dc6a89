"""Questions in processes beside the API: whose turn it is, and what follows where a process ends or does not start."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from serving.definitions.catalogue import Catalogue, encode
from serving.history import Source
from serving.logs import frames_only
from serving.lookups import worker
from serving.lookups.people import search
from serving.lookups.unsaved_expressions import cost, preview
from serving.lookups.vocabulary import seen
from serving.lookups.worker import in_worker, in_worker_or_none
from serving.refusals import Unavailable
from tests.pipelines.world import World
from tests.serving.local_api import answers
from tests.serving.lookups import ending, telling
from tests.waiting import wait_until

log = structlog.get_logger()

T = TypeVar("T")

WITHIN_S = 60
ADMIN = {"Authorization": "Bearer admin"}


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """Two people with an event each."""
    world = World(redis_url, tmp_path, shards=4, admin_key="admin")
    world.recover()
    world.ingest(
        [
            {"type": "track", "event": "seen", "messageId": "1", "userId": "ada"},
            {"type": "track", "event": "seen", "messageId": "2", "userId": "bob"},
        ]
    )
    world.drain().step()
    return world


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs some work in an event loop of its own, which leaves nothing open."""
    result = asyncio.run(asyncio.wait_for(main(), WITHIN_S))
    gc.collect()  # a stream that was not closed warns when it is collected, and a warning fails the test
    return result


def start_with(patch: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    """Lets processes be started by a shell script in Python's place."""
    script = folder / "python"
    script.write_text("\n".join(["#!/bin/sh", *lines, f'exec "{sys.executable}" "$@"', ""]))
    script.chmod(0o755)
    patch.setattr(sys, "executable", str(script))


def runs(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_neither_a_search_nor_a_check_waits_for_a_preview(world: World) -> None:
    """While a preview runs, a search and a check are answered."""
    catalogue = encode(Catalogue())

    async def main() -> dict[str, Any]:
        async with worker.PREVIEWS:
            previewing = asyncio.create_task(
                in_worker(preview, Source(world.lake.root), catalogue, "trait", "events.seen.count", 2**40, 5)
            )
            page = await asyncio.wait_for(in_worker(search, Source(world.lake.root), "", 50, 0), WITHIN_S)
            costing = in_worker(cost, Source(world.lake.root), catalogue, "trait", "events.seen.count", 2**40)
            assert await asyncio.wait_for(costing, WITHIN_S)
            assert not previewing.done()
        assert (await asyncio.wait_for(previewing, WITHIN_S))["total"] == 2
        return page

    assert run(main)["total"] == 2


def test_who_saves_a_definition_waits_for_no_search(world: World) -> None:
    """The names that a definition reads are told while a search has the turn of all other questions."""

    async def main() -> tuple[dict[str, list[str]], list[str]]:
        async with worker.OTHERS:
            return await in_worker(seen, Source(world.lake.root), ["seen"], False)

    assert run(main) == ({"seen": []}, [])


# ── processes that end, and that do not start ────────────────────────────────────────────────────────────────────


def test_a_process_answers_question_after_question_and_ends_with_its_loop() -> None:
    """One is used again while it lives, and none is left when the event loop ends."""

    async def main() -> list[int]:
        return [await in_worker(ending.pid) for _ in range(3)]

    first, *others = run(main)
    assert others == [first] * 2 and first != os.getpid()
    wait_until(lambda: not runs(first), "the process ends")


def test_a_question_whose_process_is_killed_is_asked_once_more(tmp_path: Path) -> None:
    """While it runs, and while it waits for the next one; a second process that is killed too is a refusal."""

    async def main() -> None:
        first = await in_worker(ending.pid)
        second = await in_worker(ending.killed_at_first, str(tmp_path / "begun"))
        assert second != first
        os.kill(second, signal.SIGKILL)
        third = await in_worker(ending.pid)
        assert third != second
        with pytest.raises(Unavailable, match="of two processes the second was ended by signal 9, too") as refused:
            await in_worker(ending.killed)
        assert refused.value.retry_after_s and "memory" in (refused.value.details or {})["remedy"]
        assert await in_worker_or_none(ending.killed) is None
        assert await in_worker(ending.pid) != third

    run(main)


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(
    ("line", "reason"),
    [("exit 7", "ended with 7"), ("kill -9 $$", "was ended by signal 9"), ("exec sleep 1000", "did not start within")],
)
def test_a_process_that_does_not_start_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, reason: str
) -> None:
    """Whatever happens to it before it can read a question; with no program to start, too."""
    start_with(monkeypatch, tmp_path, line)
    monkeypatch.setattr(worker, "START_S", 0.5)

    async def main() -> None:
        with pytest.raises(Unavailable, match=reason):
            await in_worker(ending.pid)
        (tmp_path / "python").unlink()
        with pytest.raises(Unavailable, match="could not be started"):
            await in_worker(ending.pid)

    run(main)


def test_a_process_that_does_not_start_at_first_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is answered, and nobody learns of it."""
    begun = tmp_path / "begun"
    start_with(monkeypatch, tmp_path, f"[ -e {begun} ] || {{ touch {begun}; exit 1; }}")

    async def main() -> int:
        return await in_worker(ending.pid)

    assert run(main) and begun.exists()


def test_whoever_gives_up_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it starts, and while it answers: it is ended, its streams are closed, and the next question is answered."""
    noted = tmp_path / "pid"
    start_with(
        monkeypatch, tmp_path, f"echo $$ > {noted}.new; mv {noted}.new {noted}; [ -e {noted}.go ] || exec sleep 1000"
    )

    async def main() -> None:
        asking = asyncio.create_task(in_worker(ending.pid))
        await asyncio.to_thread(wait_until, noted.exists, "the process starts")
        asking.cancel()
        await asyncio.wait([asking])
        wait_until(lambda: not runs(int(noted.read_text())), "the process ends")
        Path(f"{noted}.go").touch()
        assert await in_worker(ending.pid)

    run(main)


def test_what_a_question_prints_does_not_stop_it() -> None:
    """It prints more than a pipe holds, to both outputs, and is answered."""

    async def main() -> str:
        return await in_worker(ending.print_much)

    assert run(main) == "answered"


def test_a_question_without_memory_is_a_refusal_and_a_bug_is_none() -> None:
    """The process goes on. An error that cannot be made again in this process is told by its type."""

    async def main() -> None:
        first = await in_worker(ending.pid)
        with pytest.raises(Unavailable, match="memory"):
            await in_worker(ending.without_memory)
        with pytest.raises(RuntimeError, match="Unreadable"):
            await in_worker(ending.unreadable)
        assert await in_worker_or_none(ending.unreadable) is None
        assert await in_worker(ending.pid) == first

    run(main)


def test_what_a_process_logs_and_where_it_failed_is_in_our_log() -> None:
    """Its lines from warnings on, by the question; and of an error the places, but never the text."""

    async def main() -> None:
        with pytest.raises(ZeroDivisionError) as failed:
            await in_worker(telling.tell_and_fail, "zq-secret")
        log.error("unforeseen", exc_info=failed.value)
        assert await in_worker_or_none(telling.tell_and_fail, "zq-secret") is None

    with capture_logs() as captured:
        run(main)

    lines = [frames_only(None, "", line) for line in captured]
    assert [line["event"] for line in lines] == ["odd", "undone", "unforeseen", "odd", "undone", "question_failed"]
    assert [line["log_level"] for line in lines[:3]] == ["warning", "error", "error"]
    assert (lines[0]["shard"], lines[0]["question"], lines[1]["error_type"]) == (3, "tell_and_fail", "KeyError")
    for line in (lines[1], lines[2], lines[5]):
        assert line["frames"][-1].startswith("tests/serving/lookups/telling.py:"), line
    assert "zq-secret" not in str(lines)


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is refused, once, and told when to try again; the next question is answered by another process."""

    async def main() -> None:
        first = await in_worker(ending.pid)
        os.kill(first, signal.SIGSTOP)
        with monkeypatch.context() as patch:
            patch.setattr(worker, "ANSWER_S", 0.2)
            with pytest.raises(Unavailable, match=r"answered nothing for 0\.2 s") as refused:
                await in_worker(ending.pid)
        assert refused.value.retry_after_s
        assert not runs(first)
        assert await in_worker(ending.pid) != first

    run(main)


def test_so_many_wait_for_a_turn_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused at once; those that wait are answered."""
    monkeypatch.setattr(worker, "WAITING_MAX", 2)

    async def main() -> list[int]:
        async with worker.OTHERS:
            waiting = [asyncio.create_task(in_worker(ending.pid)) for _ in range(2)]
            while worker.OTHERS.statistics().tasks_waiting < 2:
                await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="2 such questions wait already") as refused:
                await in_worker(ending.pid)
            assert refused.value.retry_after_s
        return await asyncio.gather(*waiting)

    assert len(set(run(main))) == 1


def test_a_question_goes_to_the_process_that_knows_its_kind() -> None:
    """Two kinds of questions that take turns each keep their process, which may have read something for them."""

    async def main() -> None:
        async with worker.OTHERS:
            kinds = [worker.PREVIEWS, worker.COSTS]
            processes = worker._processes()
            taken = [await processes.new() for _ in kinds]
            request = pickle.dumps((ending.pid, ()))
            for process, kind in zip(taken, kinds, strict=True):
                await processes.ask(process, request, kind, WITHIN_S)
            for kind, process in (*zip(kinds, taken, strict=True), *zip(kinds, taken, strict=True)):
                again = await processes.idle_or_new(kind)
                assert again is process
                await processes.ask(again, request, kind, WITHIN_S)

    run(main)


def test_a_save_stands_without_any_process(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save and a check leave out what only a process could tell. A preview is 503: it says why, and when to retry."""
    start_with(monkeypatch, tmp_path, "exit 1")
    saved, checked, previewed = answers(
        world.settings,
        [
            httpx.Request("POST", f"http://api/v1/admin/{path}", headers=ADMIN, json=body)
            for path, body in (
                ("traits", {"key": "n", "expression": "events.never_seen.count"}),
                ("validate", {"type": "trait", "expression": "events.never_seen.count"}),
                ("preview", {"type": "trait", "expression": "events.never_seen.count"}),
            )
        ],
    )

    assert (saved.status_code, saved.json()["trait"]["warnings"]) == (200, [])
    assert checked.status_code == 200 and checked.json()["cost"] == {"live": True}
    assert previewed.status_code == 503 and int(previewed.headers["retry-after"]) > 0
    assert "ended with 1" in previewed.json()["message"]
