"""Looks at parts that may not answer: nobody waits long, and nobody looks twice."""

from __future__ import annotations

import asyncio
import gc
import threading
from itertools import pairwise

import anyio
import pytest

from serving import lookout
from serving.lookout import Lookout, Paced, Recent, Refreshed, Seen, Together
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


def test_a_paced_look_begins_after_whoever_waits_for_it() -> None:
    """All who come before it begins share it, and its error; who comes while it is under way waits for the next, which
    begins no sooner than it may."""
    began: list[float] = []

    async def ask() -> list[object]:
        part, going_on = Paced[int](0.05), asyncio.Event()

        async def look() -> int:
            began.append(asyncio.get_running_loop().time())
            number = len(began)
            await going_on.wait()
            if number == 2:
                raise Unavailable("away")
            return number

        first = [asyncio.create_task(part.of(look)) for _ in range(5)]
        while not began:
            await asyncio.sleep(0)
        second = [asyncio.create_task(part.of(look)) for _ in range(5)]
        await asyncio.sleep(0)
        going_on.set()
        answers = await asyncio.gather(*first, *second, return_exceptions=True)
        return [*answers, await part.of(look)]

    answers = anyio.run(ask)

    assert answers[:5] == [1] * 5 and {str(answer) for answer in answers[5:10]} == {"away"} and answers[10] == 3
    assert all(later - earlier >= 0.045 for earlier, later in pairwise(began))


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


def test_an_answer_is_used_while_a_newer_one_is_sought() -> None:
    """The first who ask wait for one answer together; later ones take the last, and a newer one is sought meanwhile."""
    asked = 0

    async def run() -> list[int | None]:
        kept, sought = Refreshed[int](least_s=0.0, most_s=1_000.0), asyncio.Event()

        async def ask() -> int:
            nonlocal asked
            asked += 1
            if asked > 1:
                await sought.wait()
            return asked

        first = await asyncio.gather(kept.of(ask), kept.of(ask))
        last = await kept.of(ask)  # does not wait for the second, which it has begun
        sought.set()
        while (newer := kept.at_hand(ask)) == 1:
            await asyncio.sleep(0)
        return [*first, last, newer]

    assert anyio.run(run) == [1, 1, 1, 2]


def test_an_old_answer_serves_where_no_newer_one_can_be_had() -> None:
    """An error is raised only where there is no answer at all."""

    async def run() -> list[str]:
        kept, is_away = Refreshed[str](least_s=0.0, most_s=0.0), True

        async def ask() -> str:
            if is_away:
                raise Unavailable("the lake is away")
            return "names"

        with pytest.raises(Unavailable, match="the lake is away"):
            await kept.of(ask)
        is_away = False
        found = await kept.of(ask)
        is_away = True
        return [found, await kept.of(ask)]

    assert anyio.run(run) == ["names", "names"]


@pytest.mark.parametrize("kind", ["paced", "together"])
def test_an_error_that_nobody_waits_for_any_more_is_not_logged(kind: str) -> None:
    """Whoever asked has hung up, so the error is nobody's: the event loop would log it as one that was lost."""
    lost: list[object] = []

    async def ask() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        begun, going_on = asyncio.Event(), asyncio.Event()

        async def fail(*_: object) -> int:
            begun.set()
            await going_on.wait()
            raise Unavailable("away")

        asked = Paced[int](0).of(fail) if kind == "paced" else Together[int, int]().of([1], fail)
        caller = asyncio.create_task(asked)
        await begun.wait()
        caller.cancel()
        await asyncio.wait([caller])
        going_on.set()
        await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        del asked, caller
        gc.collect()

    asyncio.run(ask())

    assert lost == []
