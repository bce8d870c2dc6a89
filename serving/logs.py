"""Logs: one JSON object a line, on standard output, of what the system did and never for whom.

A line names path templates, statuses, counts, shards and builds. It has no id, key, query string, body, property or
address of a client: our own lines do not hold them, and lines of libraries are cut to the part that cannot. The text of
an exception may quote what somebody sent, so a line has its type and the places in the code instead.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, TextIO, TypeAlias

import msgspec
import structlog
from starlette.types import Scope

Level: TypeAlias = Literal["debug", "info", "warning", "error"]
Line: TypeAlias = MutableMapping[str, Any]

FRAMES_MAX = 20
#: The folder that our packages are in.
_CHECKOUT = f"{Path(__file__).parents[1]}/"
#: The parts of a URL that may be secret: a login, and a query with a signature.
_SECRETS = re.compile(r"(?<=://)[^/\s@]+@|(?<=\w)\?[^\s'\"]+")

log = structlog.get_logger()


class Unfailing:
    """A text stream on which a write that fails is no error: a disk that is full must end no work but that of its log.

    What is not written is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text, if that can be done."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hands on what was written, if that can be done."""
        with suppress(OSError):
            self._stream.flush()


class Elsewhere(Exception):
    """The cause of an error that another process raised, by the places in the code that it came through there."""

    def __init__(self, frames: list[str]) -> None:
        super().__init__(f"{len(frames)} places in another process")
        self.frames = frames


def configure(level: Level, **always: object) -> None:
    """Sends our lines from this level on, and lines of libraries from warnings on, to standard output.

    Each has these fields, beside its own.
    """
    output: Any = Unfailing(sys.stdout)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda logger, name, line: {**always, **line},
    ]
    structlog.configure(
        processors=[*shared, frames_only, without_secrets, structlog.processors.JSONRenderer(serializer=_json)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                first_line,
                frames_only,
                without_secrets,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = lambda kind, error, where: log.critical("died", exc_info=error)
    threading.excepthook = lambda died: log.critical("died", exc_info=died.exc_value)
    sys.unraisablehook = lambda ignored: log.error("ignored", exc_info=ignored.exc_value)


def frames_only(logger: Any, name: str, line: Line) -> Line:
    """The line with the type of its exception and the last places it came through, in place of its text."""
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        line["error_type"] = type(error).__name__
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
        line["frames"] = [f"{_place(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]
        if isinstance(error.__cause__, Elsewhere):
            line["frames"] += error.__cause__.frames
    return line


def safe_message(error: Exception) -> str:
    """What a log may say of an error that was foreseen: its message, but the type alone of an error of Polars.

    A message of Polars may quote a table.
    """
    polars = sys.modules.get("polars")  # where nobody has imported it, no error is of it
    is_of_polars = polars is not None and isinstance(error, polars.exceptions.PolarsError)
    return type(error).__name__ if is_of_polars else str(error)


def without_secrets(logger: Any, name: str, line: Line) -> Line:
    """The line without the secret parts of URLs in its texts."""
    for key, value in line.items():
        if isinstance(value, str) and ("?" in value or "://" in value):
            line[key] = _SECRETS.sub("…", value)
    return line


def first_line(logger: Any, name: str, line: Line) -> Line:
    """The line with the first line of a library's message; the others quote values."""
    line["event"] = str(line["event"]).strip().partition("\n")[0]
    return line


def request_id(scope: Scope) -> str:
    """The id of a request, in the log and, as `X-Request-Id`, for its caller. Ours: theirs could hold anything."""
    id: str = scope.setdefault("request_id", "") or token_hex(8)
    scope["request_id"] = id
    return id


def log_answer(
    scope: Scope, template: str, status: int, seconds: float, *, is_quiet: bool, reason: str | None = None
) -> None:
    """Writes the line of a request: an error for 500, a warning for 503 and its like, debug for quiet paths.

    `reason`: why a part could not do its work now.
    """
    fields: dict[str, Any] = {
        "method": scope["method"],
        "path": template,
        "status": status,
        "ms": round(seconds * 1000, 3),
        "request_id": request_id(scope),
    }
    if reason is not None:
        fields["reason"] = reason
    if status == 500:
        log.error("answered", **fields)
    elif status > 500:
        log.warning("answered", **fields)
    elif is_quiet:
        log.debug("answered", **fields)
    else:
        log.info("answered", **fields)


def _place(filename: str) -> str:
    """The path of a file below the checkout; of a library's the last two parts."""
    if filename.startswith(_CHECKOUT) and "site-packages" not in filename:
        return filename.removeprefix(_CHECKOUT)
    return "/".join(filename.split("/")[-2:])


def _json(line: Line, **_: Any) -> str:
    return msgspec.json.encode(line, enc_hook=repr).decode()
