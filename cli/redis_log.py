"""What the log of the embedded Redis says of a server that does not start.

Nobody else tells why. A file that is damaged stays so, and a person must act: the supervisor then starts it no more.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:  # the supervisor reads this file, too, and needs nothing of the engine
    from cli.stack import Stack

#: Bytes of the end of the log that are read.
READ_BYTES = 16_384

#: Where a line of a server that is ready stands, all before it is past.
_READY = "Ready to accept connections"
#: Lines, behind the mark of a warning, of a server that cannot read its file.
_DAMAGED = re.compile(
    r"# (.*(?:Bad file format reading the append only file|Unrecoverable error reading the append only file"
    r"|Unexpected end of file reading the append only file|[Ff]atal error loading the DB"
    r"|Unknown command '|Error reading the RDB preamble|Internal error in RDB|Short read or OOM loading DB"
    r"|Wrong signature trying to load DB|AOF file .*(?:doesn't exist|not exist)).*)"
)


def damage_of(home: Path, since: int = 0) -> str | None:
    """What is wrong with the file of the Redis of a home, with the remedy; None where nothing is.

    `since`: only what the log says behind this many bytes.
    """
    line = _last_damage(_end_of(home / "logs" / "redis.log", since))
    if line is None:
        return None
    folder = home / "redis"
    return (
        f"Redis cannot read its file in {folder} ({line}): run `tinycdp down`, copy that folder away, then cut the "
        "file at the damage with `redis-check-aof --fix`, or, without that program, remove the folder. `tinycdp up` "
        "brings all back from the lake; events that the lake had not got yet, mostly of the last second, are lost"
    )


def tells_of_damage(lines: bytes) -> bool:
    """Whether these lines of the log end a start that cannot succeed: the server cannot read its file."""
    return _last_damage(lines.decode(errors="replace")) is not None


def log_size(home: Path) -> int:
    """The bytes of the log now."""
    path = home / "logs" / "redis.log"
    return path.stat().st_size if path.exists() else 0


def is_embedded(home: Path, stack: Stack) -> bool:
    """Whether a stack's Redis is the one whose configuration is under its home."""
    config = home / "redis.conf"
    address = urlsplit(stack.redis_url)
    if address.hostname != "127.0.0.1" or not config.exists():
        return False
    return f'port "{address.port}"' in config.read_text(encoding="utf-8")


def _as_written(line: str) -> str:
    """A line as Redis wrote it: the supervisor keeps it as the event of an object."""
    try:
        kept = json.loads(line)
        return f"{'#' if kept['level'] == 'warning' else '*'} {kept['event']}"
    except (ValueError, KeyError, TypeError):
        return line


def _last_damage(text: str) -> str | None:
    found = _DAMAGED.findall("\n".join(map(_as_written, text.rpartition(_READY)[2].splitlines())))
    return found[-1].strip().partition(": make a backup")[0] if found else None


def _end_of(path: Path, since: int) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            # A log that is shorter than it was has been begun anew.
            file.seek(max(size - READ_BYTES, since if since <= size else 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
