"""Which API processes run: each says so every few seconds, under a name of its own.

Drain and worker have one heartbeat each, since one of each works. All API processes work, on any machine, so only Redis
knows them all. `tinycdp doctor` names them, and those that fell silent without a word.
"""

from __future__ import annotations

import asyncio
import socket

import msgspec
import structlog

from serving.engine import Engine
from serving.release import release
from serving.store.deadlines import within
from serving.store.errors import StoreError

log = structlog.get_logger()

#: How often a process speaks, and how long it waits for Redis then.
SAY_S, WAIT_S = 5.0, 2.0
#: A process that was silent for so long is gone, or hangs.
SILENT_MS = 20_000
#: It is forgotten after this, by the next process that starts.
FORGOTTEN_MS = 600_000


class ApiProcess(msgspec.Struct, frozen=True):
    """What a process says: the address that it binds to, its release, and when it said so, by Redis' clock, UTC ms."""

    address: str
    release: str
    at_ms: int

    def is_silent(self, now_ms: int) -> bool:
        """Whether it should have spoken since."""
        return now_ms - self.at_ms > SILENT_MS


process_of = msgspec.json.Decoder(ApiProcess).decode


class Presence:
    """Says that this process runs, until it ends. `number`: which of its address it is, from 1 on."""

    def __init__(self, engine: Engine, number: int = 1) -> None:
        host, port = engine.settings.host, engine.settings.port
        self._store = engine.store
        self._address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # A process that starts again on its port takes the place of the one before.
        self.name = f"{socket.gethostname()}:{port}" + (f"#{number}" if number > 1 else "")

    async def run(self) -> None:
        """Speaks at once, and again and again."""
        is_first = True
        while True:
            try:
                await self._say(forgets=is_first)
                is_first = False
            except StoreError:
                pass  # Redis is away, as all that this process answers says
            except Exception as error:  # a task that ends would speak no more
                log.error("presence_not_told", exc_info=error)
            await asyncio.sleep(SAY_S)

    @within(WAIT_S)
    async def _say(self, *, forgets: bool) -> None:
        now_ms = await self._store.now_ms()
        gone: list[str] = []
        if forgets:
            known = {name: process_of(said) for name, said in (await self._store.processes()).items()}
            gone = [name for name, process in known.items() if now_ms - process.at_ms > FORGOTTEN_MS]
        said = ApiProcess(self._address, release(), now_ms)
        await self._store.beat_process(self.name, msgspec.json.encode(said), gone)

    @within(WAIT_S)
    async def leave(self) -> None:
        """Takes back what it said: a process that ends in order is not missed."""
        try:
            await self._store.forget_process(self.name)
        except StoreError as error:
            log.info("presence_not_taken_back", error=str(error))
