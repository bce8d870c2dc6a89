"""Asks the worker for a rebuild, and waits for it."""

from __future__ import annotations

import time

from serving.store.store import Store

REBUILD_S_MAX = 1_800.0
#: A worker may be silent this long: its heartbeat outlives it by 10 s, and a supervisor starts it again within seconds.
SILENT_S_MAX = 20.0


class TookTooLong(RuntimeError):
    """The worker did not get there in time, or is not there."""


def await_rebuild(store: Store, patience_s: float = REBUILD_S_MAX) -> None:
    """Asks for a rebuild of everybody and returns when it is published.

    Raises `TookTooLong`, within 20 seconds where no worker is alive. The request stays, and the next worker serves it.
    """
    number = store.want_rebuild()
    began = heard = time.monotonic()
    while store.rebuild_requests().done < number:
        now = time.monotonic()
        if store.heartbeat("worker") is not None:
            heard = now
        if now > heard + SILENT_S_MAX:
            raise TookTooLong(
                f"no worker has been alive for {SILENT_S_MAX:.0f} s, so nothing is rebuilt: start the stack with"
                " `tinycdp up`, or a part with `tinycdp worker`. The rebuild is asked for: the worker begins with it,"
                " and `tinycdp rebuild` waits for it"
            )
        if now > began + patience_s:
            raise TookTooLong(f"no rebuild within {patience_s:.0f} s: what does the worker say? (tinycdp doctor)")
        time.sleep(0.1)
