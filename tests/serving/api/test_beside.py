"""Answers that take long are made beside the event loop, in turn, and leave it its own turns."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import anyio
import pytest

from serving.api.beside import DEFINITIONS, are_many, beside, take_turns
from serving.store.deadlines import within
from serving.store.records import BASE_BYTES, TAIL_ENTRIES, Record, are_large

#: Steps of one work: some tens of milliseconds of a processor.
STEPS = 400_000


@pytest.fixture(autouse=True)
def turns() -> Iterator[None]:
    """Turns of threads as the API sets them for its process."""
    before = sys.getswitchinterval()
    take_turns()
    yield
    sys.setswitchinterval(before)


def test_four_at_once_leave_the_loop_its_turns() -> None:
    """Four callers whose answers take long are served one after the other, and meanwhile the loop goes on for others:
    in their own loop it would get four turns, one after each."""
    under_way, most, turns = 0, 0, 0

    def work() -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        total = 0
        for step in range(STEPS):
            total += step
        under_way -= 1

    async def others(done: anyio.Event) -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await anyio.sleep(0)

    async def run() -> None:
        done = anyio.Event()
        async with anyio.create_task_group() as everybody:
            everybody.start_soon(others, done)
            async with anyio.create_task_group() as callers:
                for _ in range(4):
                    callers.start_soon(beside, work)
            done.set()

    anyio.run(run)

    assert most == 1
    assert turns > 40


def test_a_turn_that_does_not_come_is_not_waited_for() -> None:
    """Who has a deadline gets a `TimeoutError` once it has passed, and others keep their places."""
    said: list[str] = []

    async def run() -> None:
        holding, may_end = anyio.Event(), anyio.Event()

        def hold() -> None:
            anyio.from_thread.run_sync(holding.set)
            anyio.from_thread.run(may_end.wait)

        @within(0.05)
        async def wait_briefly() -> None:
            await beside(lambda: said.append("never"))

        async with anyio.create_task_group() as callers:
            callers.start_soon(beside, hold)
            await holding.wait()
            with pytest.raises(TimeoutError):
                await wait_briefly()
            may_end.set()
        await beside(lambda: said.append("later"))

    anyio.run(run)

    assert said == ["later"]


def test_what_takes_long_is_known_before() -> None:
    """Long tails, large bases or many definitions make an answer a long one; of several records together, too."""
    small = Record("user:a", tail=(b"",) * TAIL_ENTRIES, base=b"x" * BASE_BYTES)
    assert not are_large([small])
    assert are_large([Record("user:a", tail=(b"",) * (TAIL_ENTRIES + 1))])
    assert are_large([Record("user:a"), Record("user:b", base=b"x" * (BASE_BYTES + 1))])
    assert are_large([small, Record("user:b", tail=(b"",))])
    assert not are_many(range(DEFINITIONS)) and are_many(range(DEFINITIONS + 1))
