"""Long work on the lake in a process of its own: an order on its standard input, lines of progress on its output.

So its memory is given back when it ends, the API's event loop never waits for it, and it is killed like any process. It
runs at the lowest priority: decisions go first. The API ends it by killing it; where the API itself was killed, the
process ends when it next reports its progress, since nobody reads that any more.

`run_job` is the API's half, `main_of` the half of the process.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from types import TracebackType
from typing import Any

import msgspec
import structlog

from serving.history import AWAY, away
from serving.logs import frames_only, safe_message
from serving.refusals import Unavailable

log = structlog.get_logger()

#: The environment that the process is started with. Without it Polars' allocator keeps freed memory, more and more.
ALLOCATOR = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:0,muzzy_decay_ms:0"}
#: Exit statuses: the lake is away; people were deleted meanwhile; a bug of ours.
LAKE_AWAY, OUTRUN, FAILED = 3, 4, 1
#: A process that reports no progress for so long is given up: the lake does not answer.
SILENT_S_MAX = 900
#: How often an order is begun whose process is ended from outside, and when the caller may try again after that.
ATTEMPTS, RETRY_AFTER_S = 2, 5
#: Bytes of one line: a result is a line too.
LINE_BYTES_MAX = 4 << 20


class Outrun(Exception):
    """People were deleted while it ran, each time that it did."""


class _EndedFromOutside(Exception):
    """A process was ended by a signal, as where memory is short, or did not start. The text says which."""


async def run_job(
    module: str, order: msgspec.Struct, on_line: Callable[[bytes], None], keep_open: Collection[int] = ()
) -> None:
    """Runs an order in a process of its own; `keep_open` are descriptors that it has open too.

    Where the process is ended from outside, or cannot be started, the order is run once more, from its beginning.
    Raises `Unavailable` where the lake is away or the second process was ended too, `Outrun`, and `RuntimeError` for a
    bug. Killed when it is cancelled.
    """
    for _ in range(ATTEMPTS):
        try:
            return await _run_once(module, order, on_line, keep_open)
        except _EndedFromOutside as ended:
            log.warning("job_ended", job=module, reason=f"{ended}")
            reason = f"{ended}"
    remedy = "try again; where that does not help, see whether the machine has memory left"
    raise Unavailable(f"its process {reason}, {ATTEMPTS} times", {"remedy": remedy}, RETRY_AFTER_S)


async def _run_once(
    module: str, order: msgspec.Struct, on_line: Callable[[bytes], None], keep_open: Collection[int]
) -> None:
    try:
        process = await _started(module, keep_open)
    except OSError as error:
        raise _EndedFromOutside(f"could not be started ({error})") from error
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    errors = asyncio.create_task(process.stderr.read())
    try:
        with suppress(OSError, RuntimeError):  # it ended before it was asked (uvloop's word for that is the second)
            process.stdin.write(msgspec.json.encode(order))
            process.stdin.close()
        while line := await asyncio.wait_for(process.stdout.readline(), SILENT_S_MAX):
            on_line(line)
        status = await process.wait()
        if status == LAKE_AWAY:
            log.warning("job_failed", job=module, error=(await errors).decode(errors="replace"))
            raise away()
        if status == OUTRUN:
            raise Outrun
        if status < 0:
            raise _EndedFromOutside(f"was ended by signal {-status}")
        if status != 0:
            log.error("job_failed", job=module, status=status, **_frames_in(await errors))
            raise RuntimeError(f"{module} ended with {status}")
    except TimeoutError:
        raise away() from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        errors.cancel()


async def _started(module: str, keep_open: Collection[int]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={**os.environ, **ALLOCATOR},
        pass_fds=tuple(keep_open),
        limit=LINE_BYTES_MAX,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def main_of(work: Callable[[bytes, Callable[[msgspec.Struct], None]], None]) -> None:
    """Does the work that the order on the standard input describes. Ends with one of the exit statuses."""
    os.nice(10)

    def report(line: msgspec.Struct) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()

    sys.excepthook = _write_frames
    try:
        work(sys.stdin.buffer.read(), report)
    except (*AWAY, Unavailable) as error:
        sys.stderr.write(safe_message(error))
        raise SystemExit(LAKE_AWAY) from error
    except Outrun as outrun:
        raise SystemExit(OUTRUN) from outrun


def _frames_in(written: bytes) -> dict[str, Any]:
    """What `_write_frames` wrote; empty for anything else, such as the words of a native library that gives up."""
    try:
        found = msgspec.json.decode(written, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
    return {name: value for name, value in found.items() if name in ("error_type", "frames")}


def _write_frames(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Writes the type and the places of an error alone: the API logs it, and its text may hold people's ids."""
    sys.stderr.write(msgspec.json.encode(frames_only(None, "", {"exc_info": error})).decode())
