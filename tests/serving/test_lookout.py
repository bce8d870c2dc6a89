"""Looks at parts that may not answer: nobody waits long, and nobody looks twice."""

from __future__ import annotations

import asyncio
import threading

import anyio
import pytest

from serving import lookout
from serving.lookout import Lookout, Recent, Seen, Together
from serving.refusals import Unavailable


def test_a_look_that_hangs_is_given_up_and_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who ask meanwhile are told so, and the event loop goes on; once it answers, they get that answer."""
    monkeypatch.setattr(lookout, "WAIT_S", 0.05)
    answered, looks = threading.Event(), []

    def look() -> None:
        looks.append(1)
        answered.wait(30)

    async def ask() -> tuple[list[Seen], Seen]:
        part = Lookout(look)
        hung = [await part.seen() for _ in range(3)]
        answered.set()
        with anyio.fail_after(30):
            while (seen := await part.seen()).error is not None:
                pass
        return hung, seen

    hung, seen_later = anyio.run(ask)

    assert {seen.error for seen in hung} == {"no answer within 0.05 s"}
    assert (seen_later.error, len(looks)) == (None, 1)


def test_many_who_ask_at_once_share_a_look() -> None:
    """One look serves all, also those who ask within a second; the error is the message of the refusal."""
    looks = []

    def look() -> None:
        looks.append(1)
        raise Unavailable("the lake is away")

    async def ask() -> list[Seen]:
        part, answers = Lookout(look), []

        async def see() -> None:
            answers.append(await part.seen())

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(see)
        return [*answers, await part.seen()]

    answers = anyio.run(ask)

    assert {seen.error for seen in answers} == {"the lake is away"}
    assert len(looks) == 1


def test_an_answer_is_shared_and_a_failure_is_not_kept() -> None:
    """All who ask while an answer is sought get that one; after a failure the next caller asks anew."""
    calls = []

    async def ask() -> list[int]:
        recent: Recent[int] = Recent(60)

        async def failing() -> int:
            raise Unavailable("away")

        async def answer() -> int:
            calls.append(1)
            return len(calls)

        with pytest.raises(Unavailable):
            await recent.of(failing)
        return [await recent.of(answer) for _ in range(3)]

    assert anyio.run(ask) == [1, 1, 1]


def test_who_asks_meanwhile_is_answered_together() -> None:
    """While one question is under way those who come share the next, which asks for all that they want."""
    asked: list[set[str]] = []
    may_answer = asyncio.Event()

    async def ask(wanted: set[str]) -> int:
        asked.append(wanted)
        await may_answer.wait()
        return len(asked)

    async def check() -> list[int]:
        together: Together[str, int] = Together()
        first = asyncio.create_task(together.of(["a"], ask))
        while not asked:
            await asyncio.sleep(0)
        others = [asyncio.create_task(together.of(wanted, ask)) for wanted in (["b"], ["c", "b"], [])]
        await asyncio.sleep(0)
        may_answer.set()
        return [await task for task in (first, *others)]

    assert asyncio.run(check()) == [1, 2, 2, 2]
    assert asked == [{"a"}, {"b", "c"}]
