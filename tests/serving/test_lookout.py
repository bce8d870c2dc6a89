"""Looks at parts that may not answer: nobody waits long, and nobody looks twice."""

from __future__ import annotations

import threading

import anyio
import pytest

from serving import lookout
from serving.lookout import Lookout, Recent, Seen
from serving.refusals import Unavailable


def test_a_look_that_hangs_is_given_up_and_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks meanwhile is told so, from the event loop, which goes on; when it answers, that is what is told."""
    monkeypatch.setattr(lookout, "WAIT_S", 0.05)
    answered, looks = threading.Event(), []

    def look() -> None:
        looks.append(1)
        answered.wait(30)

    async def ask() -> tuple[list[Seen], Seen]:
        one = Lookout(look)
        hung = [await one.seen() for _ in range(3)]
        answered.set()
        with anyio.fail_after(30):
            while (found := await one.seen()).error is not None:
                pass
        return hung, found

    hung, found = anyio.run(ask)

    assert {seen.error for seen in hung} == {"no answer within 0.05 s"}
    assert (found.error, len(looks)) == (None, 1)


def test_many_who_ask_at_once_share_a_look() -> None:
    """One look for all, and for all who ask within a second; what is wrong is told as the refusal words it."""
    looks = []

    def look() -> None:
        looks.append(1)
        raise Unavailable("the lake is away")

    async def ask() -> list[Seen]:
        one, found = Lookout(look), []

        async def seen() -> None:
            found.append(await one.seen())

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(seen)
        return [*found, await one.seen()]

    found = anyio.run(ask)

    assert {seen.error for seen in found} == {"the lake is away"}
    assert len(looks) == 1


def test_an_answer_is_shared_and_a_failure_is_not_kept() -> None:
    """Who asks while an answer is found gets that one; after a failure the next one asks anew."""
    asked = []

    async def ask() -> list[int]:
        recent: Recent[int] = Recent(60)

        async def failing() -> int:
            raise Unavailable("away")

        async def answer() -> int:
            asked.append(1)
            return len(asked)

        with pytest.raises(Unavailable):
            await recent.of(failing)
        return [await recent.of(answer) for _ in range(3)]

    assert anyio.run(ask) == [1, 1, 1]
