"""Exports under way in this process: a few at a time, each in a process of its own, and the progress of each.

The last state of an export is also in Redis, so that any API process can tell it; there it is kept for a day.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Literal

import msgspec
import structlog
from anyio import to_thread

from serving.definitions.catalogue import encode
from serving.engine import Engine
from serving.lookups.export_job import ATTEMPTS, ROWS_AT_ONCE, Order, Progress
from serving.lookups.job_process import Outrun, run_job
from serving.refusals import NotFound, Refusal, TooMany, Unavailable
from serving.store.errors import StoreError
from serving.store.scripts.lease import SHARED, WRITERS

log = structlog.get_logger()

#: Exports of one API process that run at once: each may take hundreds of megabytes and all idle cores.
AT_ONCE = 1
#: Exports that wait for their turn. Beyond that callers get 429.
WAITING_MAX = 20
RETRY_AFTER_S = 30
#: How often the state of an export is put into Redis, and how long it stays there: the API may have been killed.
BEAT_S, BELIEVED_MS = 15.0, 60_000
#: How long the lease of writers lasts, and how often it is renewed or asked for.
LEASE_MS, LEASE_BEAT_S = 15_000, 1.0
#: How long an export can be asked for after its end.
REMEMBERED_MS = 24 * 3_600_000
#: Characters of a segment's key in a file's name. A file's name has at most 255 bytes.
NAMED_CHARACTERS = 160

State = Literal["waiting", "running", "done", "failed"]


class Export(msgspec.Struct):
    """An export and its progress. `done` of `of` are steps, two for each row of the lake; times are UTC ms."""

    id: str
    key: str
    filename: str
    state: State = "waiting"
    done: int = 0
    of: int | None = None
    members: int = 0
    as_of_ms: int | None = None
    error: str | None = None


class ExportRuns:
    """Starts exports and follows them."""

    def __init__(self, engine: Engine, rows_at_once: int = ROWS_AT_ONCE) -> None:
        self._engine, self._rows_at_once = engine, rows_at_once
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._exports: dict[str, Export] = {}

    async def start(self, key: str) -> Export:
        """An export of a segment: the one that waits already, else a new one. Its instant is when its turn comes.

        Raises `NotFound` for an unknown segment, `TooMany` when too many wait.
        """
        await self._catalogue_text(key)
        waiting = {export.key: export for export in self._exports.values() if export.state == "waiting"}
        if key in waiting:
            return waiting[key]
        if len(waiting) >= WAITING_MAX:
            raise TooMany(
                f"{WAITING_MAX} exports are waiting", {"remedy": "try again after Retry-After"}, RETRY_AFTER_S
            )
        export = Export(secrets.token_hex(8), key, _filename(key, self._engine.clock_ms()))
        self._exports[export.id] = export
        task = asyncio.create_task(self._run(export))
        self._tasks[export.id] = task
        await self._report(export, BELIEVED_MS)
        return export

    async def ended(self, export: Export) -> Export:
        """The same export, once it is done. Raises `Unavailable` when it failed."""
        task = self._tasks.get(export.id)
        if task is not None:
            await asyncio.shield(task)
        if export.state == "failed":
            raise Unavailable(f"the export failed: {export.error}", {"remedy": "try again"}, retry_after_s=5)
        return export

    async def find(self, export_id: str) -> Export:
        """An export of this or another process. Raises `NotFound` when none is known."""
        export = self._exports.get(export_id)
        if export is not None:
            return export
        try:
            text = await self._engine.store.heartbeat(_part(export_id))
        except StoreError as error:
            raise Unavailable("Redis is away", {"remedy": "try again"}, retry_after_s=1) from error
        if text is None:
            raise NotFound("Export not found", {"field": "id", "value": export_id})
        return msgspec.json.decode(text, type=Export)

    async def close(self) -> None:
        """Stops all exports. Nobody ever sees an unfinished file."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _catalogue_text(self, key: str) -> bytes:
        """The text of the catalogue as it is now. Raises `NotFound` where the segment is not in it."""
        catalogue = await self._engine.current()
        if ("segment", key) not in catalogue.definitions:
            raise NotFound("Segment not found", {"field": "key", "value": key})
        return encode(catalogue)

    async def _run(self, export: Export) -> None:
        beating = asyncio.create_task(self._beat(export))
        try:
            async with self._turn, self._lease():
                export.state = "running"
                now_ms = export.as_of_ms = self._engine.clock_ms()
                export.filename = _filename(export.key, now_ms)
                text = await self._catalogue_text(export.key)
                await self._write_undeleted(export, text, now_ms)
            export.state = "done"
        except Refusal as refusal:
            export.state, export.error = "failed", refusal.message
        except Exception as error:
            log.error("export_failed", segment=export.key, exc_info=error)
            export.state, export.error = "failed", "an internal error occurred"
        finally:
            beating.cancel()
            if export.state not in ("done", "failed"):
                export.state, export.error = "failed", "the API was stopped"
            await self._report(export, REMEMBERED_MS)
            del self._exports[export.id], self._tasks[export.id]

    async def _write_undeleted(self, export: Export, catalogue: bytes, now_ms: int) -> None:
        """Writes the file until nobody was deleted meanwhile. Raises `Unavailable` where somebody always was.

        The file may name whoever was deleted since it was begun, so it is withdrawn.
        """
        engine = self._engine
        for _ in range(ATTEMPTS):
            deletes = await engine.with_refusals(engine.store.last_deletes())  # first: the source has these, or more
            source = await engine.source()
            order = Order(source, catalogue, export.key, now_ms, export.filename, self._rows_at_once)
            await _write(order, lambda progress: _advance(export, progress))
            if await engine.with_refusals(engine.store.last_deletes()) == deletes:
                return
            await to_thread.run_sync(engine.history.drop_export, export.filename)
        raise outrun()

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[None]:
        """Holds the writers' lease, so that no export appears after a purge reported a person gone.

        A purge at once waits for exports to end, and a new export waits for the purge. The lease is left to run out,
        since other exports may hold it too.
        """
        while not await self._hold_lease():
            await asyncio.sleep(LEASE_BEAT_S)

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_BEAT_S)
                with suppress(Unavailable):
                    await self._hold_lease(joins=False)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def _hold_lease(self, *, joins: bool = True) -> bool:
        try:
            return await self._engine.store.hold_lease(WRITERS, SHARED, LEASE_MS, "joins" if joins else "")
        except StoreError as error:
            raise Unavailable("Redis is away", {"remedy": "try again"}, retry_after_s=1) from error

    async def _beat(self, export: Export) -> None:
        while True:
            await self._report(export, BELIEVED_MS)
            await asyncio.sleep(BEAT_S if export.state == "waiting" else 1.0)

    async def _report(self, export: Export, ttl_ms: int) -> None:
        with suppress(StoreError):  # Redis is away: the export does not need it
            await self._engine.store.beat(_part(export.id), msgspec.json.encode(export), ttl_ms)


async def _write(order: Order, on_progress: Callable[[Progress], None]) -> None:
    """Runs an order in a process of its own. Raises `Unavailable` for what may pass, `RuntimeError` for a bug."""
    try:
        await run_job(
            "serving.lookups.export_job", order, lambda line: on_progress(msgspec.json.decode(line, type=Progress))
        )
    except Outrun:
        raise outrun() from None


def outrun() -> Unavailable:
    """The refusal for an export during which people were always deleted."""
    return Unavailable(f"people were deleted while it ran, {ATTEMPTS} times", {"remedy": "try again"}, RETRY_AFTER_S)


def _advance(export: Export, progress: Progress) -> None:
    export.done, export.of, export.members = progress.done, progress.of, progress.members


def _filename(key: str, now_ms: int) -> str:
    """`segment_<key>_<date>.csv`, by the date in UTC: a later export of the same day replaces the file."""
    name = key
    if len(key) > NAMED_CHARACTERS:
        name = f"{key[:NAMED_CHARACTERS]}_{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    return f"segment_{name}_{datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()}.csv"


def _part(export_id: str) -> str:
    return f"export:{export_id}"
