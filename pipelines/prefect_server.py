"""Prefect's server, spoken to from a thread of its own: nobody else ever waits for it.

What is to be said is a queue of calls, bounded, made one after the other. Each request is given up after `REQUEST_S`. A
server that does not answer, or cannot write, fails the call that is being made; the thread makes another client then,
and looks for the server again after a pause. A server that refuses one request is there, and the next call is made.
"""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable

import structlog
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

log = structlog.get_logger()

Call = Callable[[SyncPrefectClient], None]

#: How long one request may take. Whoever waits for an answer waits no longer either.
REQUEST_S = 2.0
#: How often Prefect's client repeats a request. Its pauses grow: after one they are seconds, after five a minute. A
#: server with SQLite is busy for a moment now and then.
RETRIES = 1
#: How often the server is looked at, also after it failed. A look costs it some 0.1 s.
LOOK_S = 5.0
#: The last look counts for so long. A look is a few requests.
AWAY_S = 15.0
#: Calls that wait. One that does not fit is not made.
CALLS_MAX = 500


class PrefectServer:
    """A thread that makes calls, and looks at the server every few seconds.

    `look` is such a call. The server answers if the last look, or any call since, succeeded.
    """

    def __init__(self, look: Call) -> None:
        self._look = look
        self._calls: queue.Queue[Call] = queue.Queue(CALLS_MAX)
        self._stop = threading.Event()
        self._seen_s: float | None = None
        self._next_look_s = 0.0
        self._error: str | None = "not asked yet"
        # The settings of Prefect that are in force here, which a thread does not inherit.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=lambda: context.run(self._run), name="prefect", daemon=True)

    @property
    def answers(self) -> bool:
        """Whether the server did all that it was last asked, a short time ago."""
        return self._error is None and self._seen_s is not None and time.monotonic() - self._seen_s < AWAY_S

    @property
    def error(self) -> str | None:
        """Why the server does not answer, as far as is known: the kind of failure, without an address or a text."""
        return None if self.answers else self._error or "no answer"

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Ends when the calls that wait are made, and in any case after `REQUEST_S`."""
        self._stop.set()
        self.look_soon()  # wakes the thread
        self._thread.join(timeout=REQUEST_S)

    def say(self, call: Call) -> bool:
        """Lets a call be made after those that wait; returns whether it will be. An exception of it ends here."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            return False
        return True

    def look_soon(self) -> None:
        """Looks at the server when the calls that wait are made."""
        self.say(lambda client: self._look_next())

    def _look_next(self) -> None:
        self._next_look_s = 0.0

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not PREFECT_API_URL.value():
                    raise LookupError("PREFECT_API_URL is not set")  # else Prefect would start a server of its own
                settings = {PREFECT_CLIENT_MAX_RETRIES: RETRIES}
                with (
                    temporary_settings(settings),
                    get_client(httpx_settings={"timeout": REQUEST_S}, sync_client=True) as client,
                ):
                    self._next_look_s = 0.0
                    while not self._stop.is_set() or not self._calls.empty():
                        self._serve(client)
            except Exception as error:  # Prefect's client raises anything when its server goes
                self._failed(error)
            self._stop.wait(LOOK_S)

    def _serve(self, client: SyncPrefectClient) -> None:
        """Looks at the server if it is time, else makes the next call."""
        left_s = self._next_look_s - time.monotonic()
        if left_s <= 0 and not self._stop.is_set():
            self._look(client)
            self._next_look_s = time.monotonic() + LOOK_S
        else:
            try:
                call = self._calls.get(timeout=max(left_s, 0.001))
            except queue.Empty:
                return
            try:
                call(client)
            except Exception as error:
                if not is_refusal(error):
                    raise
                log.warning("prefect_refused", error=_kind(error))
        self._seen_s = time.monotonic()
        if self._error is not None:
            self._error = None
            log.info("prefect_answers")

    def _failed(self, error: Exception) -> None:
        if self._error is None or self._seen_s is None:
            log.warning("prefect_away", error=_kind(error))
        self._seen_s = self._seen_s or 0.0
        self._error = _kind(error)


def is_refusal(error: Exception) -> bool:
    """Whether a server that is there refuses this one request, as of a run that was deleted.

    One that lets nobody in, or has no time, is as good as away.
    """
    status = _status(error)
    return isinstance(error, ObjectNotFound) or (
        status is not None and 400 <= status < 500 and status not in (401, 403, 408, 429)
    )


def _status(error: Exception) -> int | None:
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def _kind(error: Exception) -> str:
    """The name of a failure, and its status where a server answered."""
    status = _status(error)
    return type(error).__name__ if status is None else f"{type(error).__name__} {status}"
