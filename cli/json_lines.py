"""Lines of any program as lines of a log: one JSON object each.

Our own parts write objects, which stay as they are. Redis, Prefect's server and Streamlit write text, and so does any
interpreter that dies: each of their lines becomes the `event` of an object. The text of an exception may quote what
somebody sent, so a traceback becomes one object, with the type and the last places; of what follows it, or follows a
panic of a native library, nothing is kept until the program writes a line that begins anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

#: Characters of a line that are kept, and bytes of one that does not end.
TEXT_MAX, LINE_BYTES_MAX = 2_000, 64 * 1024
#: Places of a traceback that are kept: the last ones.
FRAMES_MAX = 20

#: How lines of logs begin, and the level that they name: Redis', Prefect's, those of Python's and our own settings.
_BEGINNINGS = (
    re.compile(r"\d+:[A-Z] .{5,30}?\d\d:\d\d:\d\d\.\d{3} (?P<level>[.\-*#]) (?P<event>.*)", re.DOTALL),
    re.compile(r"\d\d:\d\d:\d\d\.\d{3} \| (?P<level>[A-Z]+) *\| (?P<event>.*)", re.DOTALL),
    re.compile(r"(?:[\d-]+ [\d:.,]+ )?(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\b[: ]*(?P<event>.*)", re.DOTALL),
)
_LEVELS = {".": "debug", "-": "debug", "*": "info", "#": "warning", "WARN": "warning", "ERRO": "error"}
_KNOWN_LEVELS = frozenset(("debug", "info", "warning", "error", "critical"))
_TRACEBACK = re.compile(r"[\s|+]*(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(r'[\s|]*File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>\S+)')
_RAISED = re.compile(r"[\s|]*(?P<type>[A-Za-z_][\w.]*)(?::|$)")
_PANIC = re.compile(r"thread '[^']*'.* panicked at (?P<place>[^:' ]+:\d+)")
#: The parts of an address that may be secret, as in `serving.logs`: this process loads nothing of the engine.
_SECRETS = re.compile(r"(?<=://)[^/\s@]+@|(?<=\w)\?[^\s'\"]+")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class JsonLines:
    """The lines of one part, as they come in pieces of any length."""

    def __init__(self, part: str) -> None:
        self.part = part
        self._rest = b""
        self._frames: list[str] | None = None  # of the traceback that is being read
        self._is_text_of_error = False

    def of(self, data: bytes) -> bytes:
        """The lines that end in this piece."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            lines.append(self._rest)
            self._rest = b""
        return b"".join(made for line in lines for made in self._made(line))

    def end(self) -> bytes:
        """The line that did not end, and the traceback that did not."""
        rest, self._rest = self._rest, b""
        lines = [*self._made(rest), *self._ended_traceback(None)]
        self._is_text_of_error = False
        return b"".join(lines)

    def _made(self, line: bytes) -> Iterator[bytes]:
        if _is_object(line):
            yield from self._ended_traceback(None)
            self._is_text_of_error = False
            yield line + b"\n"
            return
        text = _COLOURS.sub("", line.decode("utf-8", "replace")).rstrip()
        if not any(map(str.isalnum, text)):  # a line of a banner
            return
        if _TRACEBACK.match(text):
            yield from self._ended_traceback(None)
            self._frames, self._is_text_of_error = [], True
        elif self._frames is not None and (text[0].isspace() or text[0] in "|+"):
            frame = _FRAME.match(text)
            if frame is not None:
                self._frames.append(f"{_place(frame['file'])}:{frame['line']} {frame['name']}")
        elif self._frames is not None:
            yield from self._ended_traceback(_RAISED.match(text))
        elif panic := _PANIC.match(text):
            self._is_text_of_error = True
            yield self._line("critical", "panicked", place=_place(panic["place"]))
        else:
            beginning = next(filter(None, (pattern.match(text) for pattern in _BEGINNINGS)), None)
            if beginning is not None:
                self._is_text_of_error = False
                level = beginning["level"]
                yield self._line(_LEVELS.get(level, level.lower()), beginning["event"])
            elif not self._is_text_of_error:
                yield self._line("info", text)

    def _ended_traceback(self, raised: re.Match[str] | None) -> Iterator[bytes]:
        frames, self._frames = self._frames, None
        if frames is not None:
            yield self._line(
                "error",
                "raised",
                error_type="unknown" if raised is None else raised["type"],
                frames=frames[-FRAMES_MAX:],
            )

    def _line(self, level: str, event: str, **more: Any) -> bytes:
        return json_line(level if level in _KNOWN_LEVELS else "info", event, part=self.part, **more)


def json_line(level: str, event: str, **more: Any) -> bytes:
    """One line of a log, in the shape of our own parts' lines."""
    said = {"event": _SECRETS.sub("…", event.strip())[:TEXT_MAX], "level": level}
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({**said, "timestamp": moment, **more}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _is_object(line: bytes) -> bool:
    if not line.startswith(b"{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _place(path: str) -> str:
    """The last two parts of a path."""
    return "/".join(path.split("/")[-2:])
