"""Questions about the lake, run in processes beside the API.

A query over millions of rows takes seconds of two cores. In the event loop's process it would take them from
decisions. So each question of this room takes and gives plain values, and `in_worker` runs it elsewhere, a few at once.

    asked  →  waits for the turn of its kind  →  an idle process, or a new one  →  answered
                  │ too many wait                       │ it ends, or does not start
                  │                                     ├→ once more, in a new process  →  answered, or refused: 503
                  └→ refused: 503                       └→ it says nothing for too long: refused: 503

Questions change nothing, so one may be asked twice. A process waits for the next question, and rather for one of the
kind that it answered last: it may know something of that. It is ended when its caller gives up, when it answers nothing
for too long, when it was idle for long, and with the event loop that it works for.

What a process logs comes with its answer, and is logged here. Of an error that nobody foresaw the places come along.
"""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn, ParamSpec, TypeVar, cast

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
from serving.logs import Elsewhere
from serving.lookups.flag_people import flag_people
from serving.lookups.live_people import explained, explained_large, told
from serving.lookups.people import data, detail
from serving.lookups.question_process import ANSWER_HEADER, QUESTION_HEADER, READY, Line
from serving.lookups.rejected import page
from serving.lookups.segment_members import segment_members
from serving.lookups.timeline import person_events
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
#: Kinds of questions: previews, costs, explanations, those about large records, of people with large records, of one
#: person's rows in the lake, of how much there is, long texts that are typed, the names in the lake, those that a
#: definition reads, all others. Somebody who looks at people waits for no preview, who looks at one person for no
#: search, who saves a definition for none of these, and an app that asks for a decision for no person who looks at
#: anything.
PREVIEWS, COSTS, EXPLANATIONS, LARGE_EXPLANATIONS, LARGE, PERSON, FIGURES, TYPED, NAMES, SAVED, OTHERS = (
    CapacityLimiter(AT_ONCE) for _ in range(11)
)
#: So many questions of one kind wait for their turn; more are refused at once.
WAITING_MAX = 100
#: A question about large records waits so long for its turn, however short the deadline of the work at hand is: an
#: answer that comes late is better than a flag's default.
LARGE_TURN_S = 5.0

#: A process that cannot read a question after so long is given up. It takes 0.1 s where the machine has time.
START_S = 10.0
#: A process that answers nothing for so long hangs, and is ended: one that reads the lake, and one that reads people.
ANSWER_S, PEOPLE_ANSWER_S = 900.0, 20.0
#: A process that nobody asked for so long is ended when the next question comes.
IDLE_S = 300.0
#: After so long a question whose processes ended may be answered.
RETRY_AFTER_S = 5

#: What the streams of a process raise that has ended.
_STREAM_ENDED = (OSError, EndOfStream, IncompleteRead, BrokenResourceError, ClosedResourceError)


async def in_worker(question: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
    """The answer of a question, from a process beside this one.

    Raises `Unavailable` while the lake is away, where two processes ended over it or did not start, where one answers
    nothing for too long, and where too many such questions wait; `TimeoutError` where its turn does not come before the
    deadline of the work at hand. Once begun it is not given up for that: its process would be ended.
    """
    kinds: dict[Callable[..., Any], CapacityLimiter] = {
        preview: PREVIEWS,
        flag_people: PREVIEWS,
        segment_members: PREVIEWS,
        cost: COSTS,
        explained: EXPLANATIONS,
        explained_large: LARGE_EXPLANATIONS,
        told: LARGE,
        person_events: PERSON,
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
    if limiter.statistics().tasks_waiting >= WAITING_MAX:
        raise Unavailable(f"{WAITING_MAX} such questions wait already", {"remedy": "try again"}, RETRY_AFTER_S)
    with fail_after(LARGE_TURN_S if limiter is LARGE else seconds_left()):
        await limiter.acquire()
    try:
        is_error, pickled, lines = await _asked(request, question.__name__, limiter)
    finally:
        limiter.release()
    for line in pickle.loads(lines) if lines else ():
        _log(line, question.__name__)
    answer = pickle.loads(pickled)
    if not is_error:
        return cast(T, answer)
    error, frames = answer
    if isinstance(error, AWAY):
        raise away() from error
    if isinstance(error, Unavailable):  # a refusal loses its details on its way between processes
        raise Unavailable(error.message, {"remedy": "try again"}, RETRY_AFTER_S) from None
    if isinstance(error, MemoryError):
        _give_up("it needs more memory than there is")
    raise error from Elsewhere(frames)


def _log(line: Line, question: str) -> None:
    """Writes a line that a process would have written."""
    fields = {name: value for name, value in line.items() if name not in ("level", "event")}
    level = line["level"] if line["level"] in ("warning", "error", "critical") else "info"
    getattr(log, level)(line["event"], question=question, **fields)


async def in_worker_or_none(question: Callable[P, T], *args: P.args, **named: P.kwargs) -> T | None:
    """The answer of a question; None where there is none, for whatever reason: the caller's own answer stands alone."""
    try:
        return await in_worker(question, *args, **named)
    except (Unavailable, TimeoutError):
        return None
    except Exception as error:
        log.error("question_failed", question=question.__name__, exc_info=error)
        return None


async def _asked(request: bytes, name: str, kind: CapacityLimiter) -> tuple[bool, bytes, bytes]:
    """Whether a question failed, the bytes of its answer or of the error, and those of what its process logged."""
    processes = _processes()
    answer_s = PEOPLE_ANSWER_S if kind in (LARGE, EXPLANATIONS, LARGE_EXPLANATIONS) else ANSWER_S
    for take in (lambda: processes.idle_or_new(kind), processes.new):
        try:
            return await processes.ask(await take(), request, kind, answer_s)
        except _Ended as ended:
            reason = f"{ended}"
            log.warning("worker_ended", question=name, reason=reason)
            if isinstance(ended, _Silent):  # another one would take as long
                _give_up(f"its process {reason}")
    _give_up(f"of two processes the second {reason}, too")


def _give_up(reason: str) -> NoReturn:
    remedy = "try again; where that does not help, see whether the machine has memory left"
    raise Unavailable(f"nothing answers this question: {reason}", {"remedy": remedy}, RETRY_AFTER_S)


class _Ended(Exception):
    """A process ended before it answered, or did not start. The text says how, in the past tense."""


class _Silent(_Ended):
    """A process answered nothing for too long, and was ended."""


class _Idle(NamedTuple):
    """A process that waits for a question, since when, and the kind of the one that it answered last."""

    process: Process
    since_s: float
    kind: CapacityLimiter


class _Processes:
    """The processes of one event loop: those that answer, and those that wait for a question, the last used last."""

    def __init__(self) -> None:
        self._all: set[Process] = set()
        self._idle: list[_Idle] = []
        #: Ends all processes when the event loop cancels its tasks, as it does at its end.
        self._ending = asyncio.create_task(self._end_all_at_last())

    async def idle_or_new(self, kind: CapacityLimiter) -> Process:
        """A process that waits, rather one that knows the kind of question; else a new one. Raises `_Ended`."""
        while self._idle and self._idle[0].since_s < time.monotonic() - IDLE_S:
            await self._end(self._idle.pop(0).process)
        while self._idle:
            of_kind = [at for at, idle in enumerate(self._idle) if idle.kind is kind]
            process = self._idle.pop(of_kind[-1] if of_kind else -1).process
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

    async def ask(
        self, process: Process, request: bytes, kind: CapacityLimiter, answer_s: float
    ) -> tuple[bool, bytes, bytes]:
        """The same as `_asked`, from this process. Raises `_Ended`, and `_Silent` after so many seconds."""
        questions, answers = cast(ByteSendStream, process.stdin), _answers_of(process)
        try:
            with fail_after(answer_s):
                await questions.send(QUESTION_HEADER.pack(len(request)) + request)
                header = await answers.receive_exactly(ANSWER_HEADER.size)
                is_error, answer_bytes, lines_bytes = ANSWER_HEADER.unpack(header)
                answer = await answers.receive_exactly(answer_bytes)
                lines = await answers.receive_exactly(lines_bytes) if lines_bytes else b""
        except TimeoutError:
            await self._end(process)
            raise _Silent(f"answered nothing for {answer_s:g} s") from None
        except _STREAM_ENDED as error:
            raise await self._ended(process) from error
        except BaseException:  # whoever asked gave up
            await self._end(process)
            raise
        self._idle.append(_Idle(process, time.monotonic(), kind))
        return is_error, answer, lines

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
