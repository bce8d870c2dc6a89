"""Questions about the lake, run in processes beside the API.

A query over millions of rows takes seconds of two cores. In the event loop's process it would take them from
decisions. So each question of this room takes and gives plain values, and `in_worker` runs it elsewhere, a few at once.

    asked  →  waits for the turn of its kind  →  an idle process, or a new one  →  answered
                                                        │ it ends, or does not start
                                                        └→ once more, in a new process  →  answered, or refused: 503

Questions change nothing, so one may be asked twice. A process waits for the next question. It is ended when its caller
gives up, when it was idle for long, and with the event loop that it works for.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

import structlog
from anyio import (
    BrokenResourceError,
    CancelScope,
    CapacityLimiter,
    ClosedResourceError,
    EndOfStream,
    IncompleteRead,
    fail_after,
    open_process,
)
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.lowlevel import RunVar
from anyio.streams.buffered import BufferedByteReceiveStream

from serving.history import AWAY, away
from serving.lookups.explanations import explained
from serving.lookups.flag_people import flag_people
from serving.lookups.people import data, detail
from serving.lookups.question_process import ANSWER_HEADER, QUESTION_HEADER, READY
from serving.lookups.rejected import page
from serving.lookups.segment_members import segment_members
from serving.lookups.timeline import timeline
from serving.lookups.totals import sizes
from serving.lookups.typed_text import told_beside
from serving.lookups.unsaved_expressions import cost, preview
from serving.lookups.vocabulary import seen, vocabulary
from serving.refusals import Unavailable
from serving.store.deadlines import seconds_left

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

#: Questions of one kind that run at once; more wait. Each has the memory of a query of its own.
AT_ONCE = 1
#: Kinds of questions: previews, costs, explanations, of one person, of how much there is, long texts that are typed,
#: the names in the lake, those that a definition reads, all others. Somebody who looks at people waits for no preview,
#: who looks at one person for no search, and who saves a definition for none of these.
PREVIEWS, COSTS, EXPLANATIONS, PERSON, FIGURES, TYPED, NAMES, SAVED, OTHERS = (
    CapacityLimiter(AT_ONCE) for _ in range(9)
)

#: A process that cannot read a question after so long is given up. It takes 0.1 s where the machine has time.
START_S = 10.0
#: A process that nobody asked for so long is ended when the next question comes.
IDLE_S = 300.0
#: After so long a question whose processes ended may be answered.
RETRY_AFTER_S = 5

#: What the streams of a process raise that has ended.
_STREAM_ENDED = (OSError, EndOfStream, IncompleteRead, BrokenResourceError, ClosedResourceError)


async def in_worker(question: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
    """The answer of a question, from a process beside this one.

    Raises `Unavailable` while the lake is away, and where two processes ended over it or did not start, and
    `TimeoutError` where its turn does not come before the deadline of the work at hand. Once begun it is not given up
    for that: its process would be ended.
    """
    kinds: dict[Callable[..., Any], CapacityLimiter] = {
        preview: PREVIEWS,
        flag_people: PREVIEWS,
        segment_members: PREVIEWS,
        cost: COSTS,
        explained: EXPLANATIONS,
        timeline: PERSON,
        detail: PERSON,
        data: PERSON,
        sizes: FIGURES,
        page: FIGURES,
        told_beside: TYPED,
        vocabulary: NAMES,
        seen: SAVED,
    }
    request = pickle.dumps((question, args), pickle.HIGHEST_PROTOCOL)
    limiter = kinds.get(question, OTHERS)
    with fail_after(seconds_left()):
        await limiter.acquire()
    try:
        is_error, pickled = await _asked(request, question.__name__)
    finally:
        limiter.release()
    answer = pickle.loads(pickled)
    if not is_error:
        return cast(T, answer)
    if isinstance(answer, (*AWAY, Unavailable)):  # a refusal loses its details on its way between processes
        raise away() from answer
    if isinstance(answer, MemoryError):
        _give_up("it needs more memory than there is")
    raise answer


async def in_worker_or_none(question: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
    """The answer of a question; None where there is none, for whatever reason: the caller's own answer stands alone."""
    try:
        return await in_worker(question, *args, **named)
    except (Unavailable, TimeoutError):
        return None
    except Exception as error:
        log.error("question_failed", question=question.__name__, exc_info=error)
        return None


async def _asked(request: bytes, name: str) -> tuple[bool, bytes]:
    """The bytes that a process answers a question with, and whether they are an error."""
    processes = _processes()
    for take in (processes.idle_or_new, processes.new):
        try:
            return await processes.ask(await take(), request)
        except _Ended as ended:
            reason = f"{ended}"
            log.warning("worker_ended", question=name, reason=reason)
    _give_up(f"of two processes the second {reason}, too")


def _give_up(reason: str) -> NoReturn:
    remedy = "try again; where that does not help, see whether the machine has memory left"
    raise Unavailable(f"nothing answers this question: {reason}", {"remedy": remedy}, RETRY_AFTER_S)


class _Ended(Exception):
    """A process ended before it answered, or did not start. The text says how, in the past tense."""


class _Processes:
    """The processes of one event loop: those that answer, and those that wait for a question, the last used last."""

    def __init__(self) -> None:
        self._all: set[Process] = set()
        self._idle: deque[tuple[Process, float]] = deque()
        #: Ends all processes when the event loop cancels its tasks, as it does at its end.
        self._ending = asyncio.create_task(self._end_all_at_last())

    async def idle_or_new(self) -> Process:
        """A process that waits, else a new one. Raises `_Ended`."""
        while self._idle and self._idle[0][1] < time.monotonic() - IDLE_S:
            await self._end(self._idle.popleft()[0])
        while self._idle:
            process, _ = self._idle.pop()
            if process.returncode is None:
                return process
            await self._end(process)
        return await self.new()

    async def new(self) -> Process:
        """A process that can read a question. Raises `_Ended`."""
        command = [sys.executable, "-m", "serving.lookups.question_process"]
        try:
            with CancelScope(shield=True):  # given up half-way, it would be nobody's
                process = await open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        except OSError as error:
            raise _Ended(f"could not be started ({error})") from error
        self._all.add(process)
        try:
            with fail_after(START_S):
                await _answers_of(process).receive_exactly(len(READY))
        except TimeoutError:
            await self._end(process)
            raise _Ended(f"did not start within {START_S:g} s") from None
        except _STREAM_ENDED as error:
            raise await self._ended(process) from error
        except BaseException:
            await self._end(process)
            raise
        return process

    async def ask(self, process: Process, request: bytes) -> tuple[bool, bytes]:
        """Whether a question failed, and the bytes of its answer or of the error. Raises `_Ended`."""
        questions, answers = cast(ByteSendStream, process.stdin), _answers_of(process)
        try:
            await questions.send(QUESTION_HEADER.pack(len(request)) + request)
            is_error, length = ANSWER_HEADER.unpack(await answers.receive_exactly(ANSWER_HEADER.size))
            answer = await answers.receive_exactly(length)
        except _STREAM_ENDED as error:
            raise await self._ended(process) from error
        except BaseException:  # whoever asked gave up
            await self._end(process)
            raise
        self._idle.append((process, time.monotonic()))
        return is_error, answer

    async def _ended(self, process: Process) -> _Ended:
        """How a process ended whose streams are at their end."""
        with suppress(TimeoutError), fail_after(START_S):
            await process.wait()
        status = process.returncode
        await self._end(process)
        if status is None:
            return _Ended("closed its output")
        return _Ended(f"was ended by signal {-status}" if status < 0 else f"ended with {status}")

    async def _end(self, process: Process) -> None:
        """Ends a process, if it has not ended, and closes its streams."""
        self._all.discard(process)
        with suppress(ProcessLookupError):
            process.kill()
        with CancelScope(shield=True), suppress(*_STREAM_ENDED):
            await process.aclose()

    async def _end_all_at_last(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for process in list(self._all):
                await self._end(process)


_of_loop: RunVar[_Processes] = RunVar("question_processes")


def _processes() -> _Processes:
    """The processes of the running event loop."""
    try:
        return _of_loop.get()
    except LookupError:
        processes = _Processes()
        _of_loop.set(processes)
        return processes


def _answers_of(process: Process) -> BufferedByteReceiveStream:
    """What a process writes. A process writes no byte that was not asked for, so nothing is left behind in it."""
    return BufferedByteReceiveStream(cast(ByteReceiveStream, process.stdout))
