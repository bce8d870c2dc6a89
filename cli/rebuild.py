"""Asks the worker for a rebuild, and waits for it."""

from __future__ import annotations

import time

import msgspec

from serving.store.store import Store

REBUILD_S_MAX = 1_800.0
#: A rebuild that failed so often since it was asked for is given up. The worker tries it again less and less often.
FAILURES_MAX = 3
#: A worker may be silent this long: its heartbeat outlives it by 10 s, and a supervisor starts it again within seconds.
SILENT_S_MAX = 20.0


class TookTooLong(RuntimeError):
    """The worker did not get there in time, or is not there."""


def await_rebuild(store: Store, patience_s: float = REBUILD_S_MAX) -> None:
    """Asks for a rebuild of everybody and returns when it is published.

    Raises `TookTooLong`, within 20 seconds where no worker is alive, and with its error where it fails again and again.
    The request stays, and is served later.
    """
    number = store.want_rebuild()
    failed_before, _ = _failures(store.heartbeat("worker"))
    began = heard = time.monotonic()
    while store.rebuild_requests().done < number:
        now = time.monotonic()
        said = store.heartbeat("worker")
        if said is not None:
            heard = now
        failures, error = _failures(said)
        failed_before = min(failed_before, failures) if said is not None else failed_before
        if failures >= failed_before + FAILURES_MAX:
            raise TookTooLong(f"the rebuild fails: {error}. It is asked for, and the worker goes on trying")
        if now > heard + SILENT_S_MAX:
            raise TookTooLong(
                f"no worker has been alive for {SILENT_S_MAX:.0f} s, so nothing is rebuilt: start the stack with"
                " `tinycdp up`, or a part with `tinycdp worker`. The rebuild is asked for: the worker begins with it,"
                " and `tinycdp rebuild` waits for it"
            )
        if now > began + patience_s:
            raise TookTooLong(f"no rebuild within {patience_s:.0f} s: what does the worker say? (tinycdp doctor)")
        time.sleep(0.1)


def _failures(said: bytes | None) -> tuple[int, str]:
    """How often rebuilds of everybody failed since one succeeded, as the worker's heartbeat says, and its errors."""
    report = {} if said is None else msgspec.json.decode(said)
    return report.get("chores", {}).get("rebuild", {}).get("failures", 0), report.get("error", "see tinycdp doctor")
