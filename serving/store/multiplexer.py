"""One connection for one event loop: the commands of one tick are written together and answered in order.

A client that sends each command by itself spends more time between tasks and sockets than Redis spends answering. Here
commands are collected, and once a tick all of them go out in one write; replies come back in the order of the commands.
Reads that are the same (the clock, the catalogue's version, a person asked for twice) are sent once a tick. Measured
beside redis-py's own client with 32 readers: 68k GETs a second instead of 13k.

For small commands one connection is enough: Redis answers one command at a time anyway, and it syncs its file for all
clients at once. (For large ones `serving.store.store` has several.) The connection is opened when first needed, and
again after it was lost. A command that was in flight then fails, because nobody knows what became of it.

A server may stall: it takes what is sent and answers nothing. Each request has a deadline of its own. When one passes,
and nothing at all was answered for `STALLED_S`, a breaker opens: further requests fail at once and are not sent.
The commands that wait already are the probe: their answers close the breaker. A connection that is silent for a whole
timeout is given up, and opened anew beside all else until the server greets. What was sent may still happen.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, cast

import hiredis
from redis.connection import SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import BusyLoadingError, NoScriptError, ReadOnlyError, RedisError, ResponseError

from serving.store.errors import NotAdmitted, ServerReplaced, StoreUnreachable, is_not_admitted
from serving.store.requests import Argument, Command

#: Commands in flight. Beyond it Redis does not keep up, and a longer queue would only make all of them late.
IN_FLIGHT_MAX = 50_000
#: How often deadlines are looked at while something is in flight.
LOOK_S = 0.1
#: Silence of less than this is no stall.
STALLED_S = 0.5
#: A server that was silent has so long to greet anew; from then on requests fail at once until it has.
GREETING_S = 0.25


class _Loading(BusyLoadingError, ResponseError):
    """The server still reads its file."""


_ERRORS: dict[str, type[ResponseError]] = {
    "NOSCRIPT": NoScriptError,
    "READONLY": ReadOnlyError,
    "LOADING": _Loading,
}


class _Exchange:
    """The commands of a request, their replies so far, and when nobody waits for them any more."""

    __slots__ = ("deadline_s", "done", "left", "replies")

    def __init__(self, count: int, done: asyncio.Future[list[Any]], deadline_s: float) -> None:
        self.replies: list[Any] = [None] * count
        self.left = count
        self.done = done
        self.deadline_s = deadline_s

    def take(self, index: int, reply: Any) -> None:
        self.replies[index] = reply
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(self.replies)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Wire(asyncio.Protocol):
    """One open connection."""

    def __init__(self, timeout_s: float, on_silent: Callable[[], None] = lambda: None) -> None:
        self.loop = asyncio.get_running_loop()
        self.timeout_s, self._on_silent = timeout_s, on_silent
        self.run_id = ""
        self.lost: Exception | None = None
        self._reader = hiredis.Reader(replyError=_reply_error)
        self._out: list[bytes] = []
        #: The takers of each shared command of this tick: exchanges, and the reply's place in them.
        self._takers: dict[tuple[Any, ...], list[tuple[_Exchange, int]]] = {}
        self._waiting: deque[list[tuple[_Exchange, int]]] = deque()
        self._is_flushing = False
        self._is_stalled = False
        self._watch: asyncio.TimerHandle | None = None
        #: When the last answer came, or the first command after a rest was sent; as of the last look.
        self._silent_since_s = 0.0
        self._has_heard = False
        self._looked_s = 0.0

    def exchange(self, commands: Sequence[Command], deadline_s: float) -> asyncio.Future[list[Any]]:
        """The replies, in order, errors among them."""
        done = self.loop.create_future()
        if self._is_stalled:
            done.set_exception(StoreUnreachable("Redis does not answer"))
            return done
        if self.lost or len(self._waiting) > IN_FLIGHT_MAX:
            done.set_exception(self.lost or StoreUnreachable("Redis does not keep up with what is asked of it"))
            return done
        try:
            packed = [command.on(self.run_id) for command in commands]
        except ServerReplaced as error:
            done.set_exception(error)
            return done
        exchange = _Exchange(len(commands), done, deadline_s)
        for index, (command, words) in enumerate(zip(commands, packed, strict=True)):
            if command.shared:
                others = self._takers.get(words)
                if others is not None:
                    others.append((exchange, index))
                    continue
                takers = self._takers[words] = [(exchange, index)]
            else:
                takers = [(exchange, index)]
            self._waiting.append(takers)
            self._out.append(hiredis.pack_command(words))  # type: ignore[arg-type]  # it means any number of words
        if not self._is_flushing:
            self._is_flushing = True
            self.loop.call_soon(self._flush)
        return done

    def close(self, error: Exception) -> None:
        """Closes at once; all that is in flight fails with this error."""
        if self.lost is None:
            self.lost = error
            self._transport.abort()
            if self._watch:
                self._watch.cancel()
            for takers in self._waiting:
                for exchange, _ in takers:
                    exchange.fail(error)
            self._waiting.clear()

    def _flush(self) -> None:
        self._is_flushing = False
        self._takers.clear()
        if self.lost is None:
            self._transport.write(b"".join(self._out))
            if self._watch is None:
                self._silent_since_s = self._looked_s = time.monotonic()
                self._watch = self.loop.call_later(LOOK_S, self._look)
        self._out.clear()

    def _look(self) -> None:
        """Fails what is beyond its deadline; closes when nothing was answered for a whole timeout."""
        self._watch = None
        if not self._waiting:
            return
        now_s = time.monotonic()
        # After a pause of this process, answers may wait to be read: they are, before the next look.
        was_held_up, self._looked_s = now_s - self._looked_s > STALLED_S, now_s
        if self._has_heard or was_held_up:
            self._has_heard, self._silent_since_s = False, now_s
        silent_s = now_s - self._silent_since_s
        if silent_s >= self.timeout_s:
            self.close(StoreUnreachable(f"Redis did not answer within {self.timeout_s} s"))
            self._on_silent()
            return
        if not was_held_up:
            self._fail_late(now_s, silent_s >= STALLED_S)
        self._watch = self.loop.call_later(LOOK_S, self._look)

    def _fail_late(self, now_s: float, is_silent: bool) -> None:
        for takers in self._waiting:
            for exchange, _ in takers:
                if exchange.deadline_s <= now_s and not exchange.done.done():
                    exchange.fail(StoreUnreachable("Redis did not answer in time"))
                    self._is_stalled = self._is_stalled or is_silent

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not checked by type: uvloop's transports are no subclass of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._has_heard, self._is_stalled = True, False
        while (reply := self._reader.gets()) is not False:
            for exchange, index in self._waiting.popleft():
                exchange.take(index, reply)

    def connection_lost(self, error: Exception | None) -> None:
        self.close(StoreUnreachable(f"the connection to Redis was lost: {error or 'closed by the server'}"))


class Multiplexer:
    """The connection of one event loop to the server of a URL."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._options = parse_url(url)
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._opening: asyncio.Task[_Wire] | None = None
        #: When nobody waits any more for the opening that is under way; infinite where no silence came before it.
        self._greeting_by_s = inf

    async def exchange(self, commands: Sequence[Command], deadline_s: float = inf) -> list[Any]:
        """The replies, in order, errors among them. Raises `StoreUnreachable`, also at the deadline.

        `deadline_s` is on the clock of `time.monotonic`. No request waits for much longer than the timeout.
        """
        now_s = time.monotonic()
        if deadline_s <= now_s:
            raise StoreUnreachable("Redis did not answer in time")
        # A little more than the timeout, by which a connection that is silent altogether is closed.
        deadline_s = min(deadline_s, now_s + self._timeout_s + 3 * LOOK_S)
        wire = self._wire
        if wire is None or wire.lost:
            wire = await self._opened(deadline_s)
        return await wire.exchange(commands, deadline_s)

    async def close(self) -> None:
        """Closes the connection; commands in flight fail."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._wire is not None:
            self._wire.close(StoreUnreachable("the store is closed"))
            await asyncio.sleep(0)  # in which the transport closes its socket

    async def _opened(self, deadline_s: float) -> _Wire:
        """An open connection, by one attempt for all who wait for it."""
        opening = self._begun()
        left_s = min(deadline_s, self._greeting_by_s) - time.monotonic()
        if left_s > 0:
            try:
                async with asyncio.timeout(left_s):
                    return await asyncio.shield(opening)
            except TimeoutError:
                self._greeting_by_s = 0.0
        raise StoreUnreachable("Redis does not answer")

    def _begun(self) -> asyncio.Task[_Wire]:
        """The attempt to open a connection that is under way, else a new one."""
        if self._opening is None or self._opening.done():
            self._greeting_by_s = inf
            self._opening = asyncio.create_task(self._open())
            # Perhaps nobody waits for it any more: its error is told to those who do.
            self._opening.add_done_callback(lambda opening: opening.cancelled() or opening.exception())
        return self._opening

    def _reopen(self) -> None:
        """Opens a connection beside all else, after one that was silent."""
        self._begun()
        self._greeting_by_s = time.monotonic() + GREETING_S

    async def _open(self) -> _Wire:
        """An open connection. An attempt that takes too long is made anew while nobody waits for it."""
        while True:
            wire: _Wire | None = None
            try:
                async with asyncio.timeout(self._timeout_s):
                    wire = await self._connect()
                    for words in _greeting(self._options):
                        (reply,) = await wire.exchange([Command(words)], inf)
                        if isinstance(reply, Exception):
                            raise NotAdmitted(str(reply)) if is_not_admitted(str(reply)) else reply
                    wire.run_id = run_id_in(reply)
                    self._wire = wire
                    return wire
            except (OSError, TimeoutError, RedisError, StoreUnreachable) as error:
                unreachable = (
                    error
                    if isinstance(error, NotAdmitted)
                    else StoreUnreachable(f"Redis cannot be reached: {error or 'no answer in time'}")
                )
                if wire is not None:
                    wire.close(unreachable)
                if self._greeting_by_s == inf or not isinstance(error, TimeoutError):
                    raise unreachable from error
            except asyncio.CancelledError:
                if wire is not None:
                    wire.close(StoreUnreachable("the store is closed"))
                raise

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        options = self._options

        def wire() -> _Wire:
            return _Wire(self._timeout_s, self._reopen)

        kind = options.get("connection_class")
        if kind is UnixDomainSocketConnection:
            return (await loop.create_unix_connection(wire, options["path"]))[1]
        host, port = options.get("host", "localhost"), options.get("port", 6379)
        context = _ssl_context(options) if kind is SSLConnection else None
        return (await loop.create_connection(wire, host, port, ssl=context))[1]


def run_id_in(info: bytes) -> str:
    """The run_id in the text of INFO server. Each start of the server has another. Raises `StoreUnreachable`."""
    for line in info.splitlines():
        if line.startswith(b"run_id:"):
            return line[7:].decode()
    raise StoreUnreachable("the server does not say its run_id")


def _greeting(options: Mapping[str, Any]) -> list[tuple[Argument, ...]]:
    """The commands that a new connection sends first: who we are, which database, and last who the server is."""
    greeting: list[tuple[Argument, ...]] = []
    if options.get("password"):
        user = (options["username"],) if options.get("username") else ()
        greeting.append(("AUTH", *user, options["password"]))
    if options.get("db"):
        greeting.append(("SELECT", options["db"]))
    return [*greeting, ("INFO", "server")]


def _ssl_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """TLS by the same URL parameters as redis-py's own connections."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path"))
    if options.get("ssl_cert_reqs") in ("none", ssl.CERT_NONE):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif str(options.get("ssl_check_hostname", "true")).lower() in ("false", "no", "0"):
        context.check_hostname = False
    if options.get("ssl_certfile"):
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password"))
    return context


def _reply_error(text: str) -> ResponseError:
    """The exception of redis-py for an error reply, as far as anybody here tells them apart."""
    return _ERRORS.get(text.partition(" ")[0], ResponseError)(text)
