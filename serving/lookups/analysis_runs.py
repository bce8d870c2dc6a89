"""Analyses under way: one at a time on a host, each in a process of its own, and the progress of each.

    asked  →  answered before?  →  waits for its turn, and for the host's  →  runs  →  done, failed or cancelled

An analysis that its caller asks again with another text replaces the one before: whoever types wants the last answer
alone. The turn of the host is a locked file in the home of the stack. The process of the analysis has it open too, so a
turn ends when nothing of it runs any more, however it ended.

The last state of each is in Redis, so that any API process can tell and cancel it. A running one is believed for
`BELIEVED_MS`, so the job of a killed API is gone soon. Answers are kept there for `REMEMBERED_MS`, and answer the same
question again: the same text over the same definitions, version of the lake, date and deletes.
"""

from __future__ import annotations

import asyncio
import fcntl
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from anyio import to_thread

from expressions.definitions import DefinitionKind
from serving.definitions.catalogue import Catalogue, encode
from serving.engine import Engine
from serving.lookups.analyses import AnalysisKind, Order, Progress
from serving.lookups.job_process import run_job
from serving.refusals import NotFound, Refusal, TooMany, Unavailable
from serving.store.errors import StoreError

log = structlog.get_logger()

#: Analyses of one API process that wait for their turn. Beyond that callers get 429.
WAITING_MAX = 20
RETRY_AFTER_S = 10
#: How often the state is put into Redis, and a wish to cancel is looked for; and how long a state is believed.
BEAT_S, BELIEVED_MS = 1.0, 15_000
#: How long the end of an analysis and its answer are kept. It may show ids of people.
REMEMBERED_MS = 15 * 60_000
#: How often the host's turn is asked for.
TURN_S = 0.1

#: Why an analysis ended that was cancelled. It is not found from then on; one that was replaced is, for a while.
CANCELLED = "it was cancelled"

State = Literal["waiting", "running", "done", "failed", "cancelled"]


class Question(msgspec.Struct, frozen=True):
    """What is asked: an analysis of an expression. `key` names the definition, whether saved or to be saved.

    `settings` are those of a flag that an edit changes, as they are saved; all of it where it brings a `version` back.
    `deleted`: the edit takes the definition out.
    """

    analysis: AnalysisKind
    kind: DefinitionKind
    key: str | None
    expression: str
    settings: dict[str, Any] | None = None
    deleted: bool = False
    version: int | None = None


class Analysis(msgspec.Struct):
    """An analysis and its progress. `deletes` is where the deletes of each shard stood when it was asked for."""

    id: str
    question: Question
    deletes: list[int]
    state: State = "waiting"
    done: int = 0
    of: int | None = None
    result: dict[str, Any] | None = None
    error: str | None = None


class AnalysisRuns:
    """Starts analyses and follows them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = asyncio.Semaphore(1)
        #: Held from the look at what waits to the new one's place among it: who asks many times at once waits for it.
        self._starting = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._analyses: dict[str, Analysis] = {}
        self._reasons: dict[str, str] = {}

    async def start(
        self, question: Question, catalogue: Catalogue, caller_id: str, after: Catalogue | None = None
    ) -> Analysis:
        """An analysis of this question: the caller's that runs, or a new one, done where it was answered before.

        Cancels the caller's last one about the same definition. `after` is the catalogue after an edit.
        Raises `TooMany` when too many wait, `Unavailable` while Redis or the lake are away.
        """
        engine = self._engine
        deletes = await engine.with_refusals(engine.store.last_deletes())  # first: the source has these, or more
        version = await to_thread.run_sync(engine.history.events_version)
        now_ms = engine.clock_ms()
        place = _digest("place", caller_id, question.analysis, question.kind, question.key)
        asked = _digest("asked", question, encode_definitions(catalogue), version, catalogue.zone.day(now_ms), deletes)
        async with self._starting:
            before = await self._kept(f"place:{place}")
            if before is not None:
                analysis_id, of_same = before.decode().split()
                with suppress(NotFound):
                    last = await self.find(analysis_id)
                    if last.state in ("waiting", "running"):
                        if of_same == asked:
                            return last
                        await self._stop(analysis_id, "its caller asked anew")
            analysis = Analysis(secrets.token_hex(8), question, deletes)
            known = await self._kept(f"answer:{asked}")
            if known is not None:
                analysis.state, analysis.result = "done", msgspec.json.decode(known)
                await self._report(analysis, REMEMBERED_MS)
                return analysis
            if sum(other.state == "waiting" for other in self._analyses.values()) >= WAITING_MAX:
                raise TooMany(
                    f"{WAITING_MAX} analyses are waiting", {"remedy": "try again after Retry-After"}, RETRY_AFTER_S
                )
            await self._keep(f"place:{place}", f"{analysis.id} {asked}".encode(), REMEMBERED_MS)
            source = await engine.source()
            order = Order(
                question.analysis,
                source,
                version,
                encode(catalogue),
                question.kind,
                question.key,
                question.expression,
                now_ms,
                None if after is None else encode(after),
            )
            self._analyses[analysis.id] = analysis
            task = self._tasks[analysis.id] = asyncio.create_task(self._run(analysis, order, asked))
            task.add_done_callback(lambda _: self._forget(analysis.id))
            await self._report(analysis, BELIEVED_MS)
            return analysis

    async def find(self, analysis_id: str) -> Analysis:
        """An analysis of this or another process. Raises `NotFound` when none is known.

        An answer that may show people is given without them once anybody was deleted since it was asked for.
        """
        analysis = self._analyses.get(analysis_id)
        if analysis is None:
            text = await self._kept(analysis_id)
            if text is None or await self._kept(f"stop:{analysis_id}") == CANCELLED.encode():
                raise NotFound("Analysis not found", {"field": "id", "value": analysis_id})
            analysis = msgspec.json.decode(text, type=Analysis)
        elif analysis.error == CANCELLED:  # its report is being forgotten
            raise NotFound("Analysis not found", {"field": "id", "value": analysis_id})
        if analysis.result is not None:
            deletes = await self._engine.with_refusals(self._engine.store.last_deletes())
            if deletes != analysis.deletes:
                return msgspec.structs.replace(analysis, result=without_people(analysis.result))
        return analysis

    async def cancel(self, analysis_id: str) -> Analysis:
        """The analysis, cancelled unless it has ended, and forgotten. Raises `NotFound` when none is known."""
        analysis = await self.find(analysis_id)
        if analysis.state in ("waiting", "running"):
            await self._stop(analysis_id, CANCELLED)
            analysis = msgspec.structs.replace(analysis, state="cancelled", error=CANCELLED)
        await self._forget_report(analysis)
        return analysis

    async def close(self) -> None:
        """Stops all analyses."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stop(self, analysis_id: str, why: str) -> None:
        """Stops an analysis, in whatever process it runs."""
        task = self._tasks.get(analysis_id)
        if task is not None:
            self._reasons[analysis_id] = why
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            await self._keep(f"stop:{analysis_id}", why.encode(), BELIEVED_MS)

    async def _run(self, analysis: Analysis, order: Order, asked: str) -> None:
        beating = asyncio.create_task(self._beat(analysis))
        try:
            async with self._turn, self._hosts_turn() as lock:
                analysis.state = "running"
                await run_job("serving.lookups.analyses", order, lambda line: _advance(analysis, line), (lock,))
            assert analysis.result is not None, "the last line has the result"
            if await self._engine.with_refusals(self._engine.store.last_deletes()) != analysis.deletes:
                analysis.result = without_people(analysis.result)
            analysis.state = "done"
            with suppress(Unavailable):
                await self._keep(f"answer:{asked}", msgspec.json.encode(analysis.result), REMEMBERED_MS)
        except Refusal as refusal:
            analysis.state, analysis.error = "failed", refusal.message
        except Exception as error:
            log.error("analysis_failed", analysis=analysis.question.analysis, exc_info=error)
            analysis.state, analysis.error = "failed", "an internal error occurred"
        finally:
            beating.cancel()
            if analysis.state in ("waiting", "running"):
                analysis.state = "cancelled"
                analysis.error = self._reasons.get(analysis.id, "the API was stopped")
            if analysis.error == CANCELLED:
                await self._forget_report(analysis)
            else:
                await self._report(analysis, REMEMBERED_MS)

    def _forget(self, analysis_id: str) -> None:
        for known in (self._analyses, self._tasks, self._reasons):
            known.pop(analysis_id, None)

    @asynccontextmanager
    async def _hosts_turn(self) -> AsyncIterator[int]:
        """Holds the lock that one analysis of this host holds at a time; gives its descriptor."""
        path = Path(self._engine.settings.home) / "analysis.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    await asyncio.sleep(TURN_S)
            yield file.fileno()

    async def _beat(self, analysis: Analysis) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._report(analysis, BELIEVED_MS)
            with suppress(Unavailable):
                why = await self._kept(f"stop:{analysis.id}")
                if why is not None:
                    self._reasons[analysis.id] = why.decode()
                    self._tasks[analysis.id].cancel()

    async def _report(self, analysis: Analysis, ttl_ms: int) -> None:
        with suppress(Unavailable):  # Redis is away: the analysis does not need it
            await self._keep(analysis.id, msgspec.json.encode(analysis), ttl_ms)

    async def _forget_report(self, analysis: Analysis) -> None:
        with suppress(StoreError):
            await self._engine.store.forget_beat(f"analysis:{analysis.id}")

    async def _keep(self, name: str, text: bytes, ttl_ms: int) -> None:
        try:
            await self._engine.store.beat(f"analysis:{name}", text, ttl_ms)
        except StoreError as error:
            raise Unavailable("Redis is away", {"remedy": "try again"}, retry_after_s=1) from error

    async def _kept(self, name: str) -> bytes | None:
        return await self._engine.with_refusals(self._engine.store.heartbeat(f"analysis:{name}"))


def without_people(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with no sample of ids: somebody in it may have been deleted."""
    return {name: [] if name == "sample" else _without_people(value) for name, value in result.items()}


def _without_people(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_people(value)
    return [_without_people(item) for item in value] if isinstance(value, list) else value


def encode_definitions(catalogue: Catalogue) -> bytes:
    """What the definitions say, for whatever else changed in the catalogue."""
    return msgspec.json.encode([(*key, stored.version) for key, stored in sorted(catalogue.definitions.items())])


def _advance(analysis: Analysis, line: bytes) -> None:
    progress = msgspec.json.decode(line, type=Progress)
    analysis.done, analysis.of = progress.done, progress.of
    if progress.result is not None:
        analysis.result = progress.result


def _digest(*parts: Any) -> str:
    return blake2b(msgspec.json.encode(parts), digest_size=12).hexdigest()
