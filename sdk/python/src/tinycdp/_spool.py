"""The disk queue: what is queued, kept in a file that outlives the process.

Each process owns one file, which it locks; a file whose lock nobody holds was left by a dead process, and the next one
adopts it. A line is written with one `write()`, so events survive a killed process. A batch is synced to the disk
before it is sent, so a power failure costs at most what was not sent yet. The lines:

    +7 9ae1f0c2 {"type":…}     an event: its number, the CRC-32 of its bytes, its bytes
    !1767225600000 1-7         an attempt at this time (UTC ms) for these events
    ?1-7                       no attempt so far can have stored these
    -1-6,7                     these are settled

A line that is torn or damaged is passed over. The file is emptied whenever all is settled, and written anew when most
of it is about settled events.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from zlib import crc32

from ._events import ids_of
from ._outbox import Entry
from .errors import ConfigurationError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("tinycdp")

#: A file is written anew once it is this much larger than twice what is queued.
SLACK_BYTES = 8 * 1024 * 1024


class Spool:
    """The file of one process. The caller holds a lock around each call. Raises `OSError`."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        #: Events for one server are not sent to another. Keys change, and stand in no file.
        self._prefix = sha256(url.encode()).hexdigest()[:16]
        self._lines = 0
        self._open()

    def _open(self) -> None:
        while True:
            path = self._folder / f"{self._prefix}-{secrets.token_hex(8)}.events"
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            if _locks(file):  # else somebody who looked for left files has it in hand
                self.path, self._file, self._size = path, file, 0
                return
            os.close(file)

    def append(self, entry: Entry) -> None:
        """Writes an event; it has a line from then on."""
        line = self._lines + 1
        self._write(b"+%d %08x %b\n" % (line, crc32(entry.body), entry.body))
        self._lines = entry.line = line

    def attempted(self, entries: Iterable[Entry], wall_ms: int) -> None:
        """Notes an attempt; to be synced before it is made."""
        if os.fstat(self._file).st_nlink == 0:  # else nothing would say that the events are in no folder any more
            raise OSError("the file was removed")
        self._note(b"!%d " % wall_ms, entries)

    def cleared(self, entries: Iterable[Entry]) -> None:
        """Notes that no attempt so far can have stored these."""
        self._note(b"?", entries)

    def settled(self, entries: Iterable[Entry], waiting: int, waiting_bytes: int) -> bool:
        """Notes that these need not be kept; so many others wait. True if the file should be written anew."""
        if waiting == 0:
            os.ftruncate(self._file, 0)
            self._size = 0
            return False
        self._note(b"-", entries)
        return self._size > 2 * waiting_bytes + SLACK_BYTES

    def rewrite(self, waiting: Iterable[Entry]) -> None:
        """Keeps these alone, in a new file. Where that fails the old one is gone too: nobody would go on writing it."""
        old_path, old_file = self.path, self._file
        self._open()
        try:
            self.adopt(waiting)
        finally:
            os.close(old_file)
            old_path.unlink(missing_ok=True)

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Writes events that were tried before, or not, and syncs them to the disk."""
        for entry in entries:
            self.append(entry)
            if entry.first_ms is not None and entry.last_ms is not None:
                self._note(b"!%d " % entry.first_ms, [entry])
                self._note(b"!%d " % entry.last_ms, [entry])
        os.fsync(self._file)

    def duplicate(self) -> int:
        """The file once more, to be synced without the lock and closed."""
        return os.dup(self._file)

    def close(self, *, keep: bool) -> None:
        """Gives the file up: for the next process if it is kept."""
        try:
            if keep:
                os.fsync(self._file)
            else:
                self.path.unlink(missing_ok=True)
        finally:
            os.close(self._file)

    def forget(self) -> None:
        """Lets a forked child's copy go. The parent's file and lock stay as they are."""
        os.close(self._file)

    def _note(self, beginning: bytes, entries: Iterable[Entry]) -> None:
        lines = sorted(entry.line for entry in entries if entry.line)
        if lines:
            self._write(beginning + _ranges(lines) + b"\n")

    def _write(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written != len(line):  # the disk is full: half a line would spoil the next one
            os.ftruncate(self._file, self._size)
            raise OSError("the line was not written whole")
        self._size += written

    # ── what others left ─────────────────────────────────────────────────────────────────────────────────────────────

    def left(self) -> Iterator[tuple[Path, int, list[Entry]]]:
        """Each file that a dead process left: its path, its open file with the lock, and the events not settled.

        Whoever takes the events removes the file; the caller closes it either way.
        """
        for path in sorted(self._folder.glob(f"{self._prefix}-*.events")):
            if path == self.path:
                continue
            try:
                file = _taken(path)
            except FileNotFoundError:
                continue
            except OSError as error:  # another user's, say
                log.warning("a disk queue that was left cannot be read (%s): %s", error, path)
                continue
            if file is not None:
                yield path, file, _unsettled(file, path)


def opened(folder: Path, url: str) -> Spool:
    """The file of this process in a folder, which is made if it is missing. Raises `ConfigurationError`."""
    require_locks(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Spool(folder, url)
    except OSError as error:
        raise ConfigurationError(f"queue_dir: {folder} cannot be written ({error.strerror}); name a folder") from error


def require_locks(folder: str | Path) -> None:
    """Raises `ConfigurationError` where the system cannot lock the files."""
    if fcntl is None:
        raise ConfigurationError(
            f"queue_dir: {str(folder)!r} is not accepted on {sys.platform}, which has no lock that a killed process "
            "leaves behind open; leave queue_dir out, and events are in memory alone"
        )


def _taken(path: Path) -> int | None:
    """A file that a dead process left, opened and locked; None for one that lives, and for what is no file."""
    file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)  # a pipe of that name must hold nobody up
    try:
        if stat.S_ISREG(os.fstat(file).st_mode) and _locks(file):
            return file
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None


def _locks(file: int) -> bool:
    """Takes the lock of a file that still has a name; false if another process has it, or removed the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return os.fstat(file).st_nlink > 0


def _unsettled(file: int, path: Path) -> list[Entry]:
    """The events of a file that are not settled, in order."""
    found: dict[int, Entry] = {}
    damaged = 0
    with open(file, "rb", closefd=False) as opened_file:
        lines = opened_file.read().split(b"\n")
    for line in lines:
        if not line:
            continue
        try:
            _read(line, found)
        except (ValueError, IndexError, KeyError, TypeError, RecursionError):
            damaged += 1
    if damaged:
        log.warning("%d lines of a disk queue are damaged and passed over: %s", damaged, path)
    return list(found.values())


def _read(line: bytes, found: dict[int, Entry]) -> None:
    """Applies a line to what the lines before it left. Raises ValueError, IndexError or KeyError for a damaged one."""
    match line[:1]:
        case b"+":
            number, checksum, body = line[1:].split(b" ", 2)
            if int(checksum, 16) != crc32(body):
                raise ValueError(line)
            event = json.loads(body)
            found[int(number)] = Entry(body, str(event["messageId"]), ids_of(event), 0.0)
        case b"!":
            time_ms, ranges = line[1:].split(b" ")
            for entry in _named(ranges, found):
                entry.last_ms = int(time_ms)
                if entry.first_ms is None:
                    entry.first_ms = entry.last_ms
        case b"?":
            for entry in _named(line[1:], found):
                entry.first_ms = None
        case b"-":
            for settled in _numbers(line[1:], found):
                found.pop(settled, None)
        case _:
            raise ValueError(line)


def _named(ranges: bytes, found: dict[int, Entry]) -> list[Entry]:
    return [found[number] for number in _numbers(ranges, found)]


def _numbers(ranges: bytes, found: dict[int, Entry]) -> list[int]:
    """Those of the numbers that are found. A damaged range may name more of them than anybody can count."""
    numbers: list[int] = []
    for part in ranges.split(b","):
        first, _, last = part.partition(b"-")
        named = range(int(first), int(last or first) + 1)
        of_both = (named, found) if named.stop - named.start <= len(found) else (found, named)
        numbers += [number for number in of_both[0] if number in of_both[1]]
    return numbers


def _ranges(numbers: list[int]) -> bytes:
    """Sorted numbers, with runs shortened: 1-3,7."""
    parts: list[bytes] = []
    first = last = numbers[0]
    for number in [*numbers[1:], -1]:
        if number == last + 1:
            last = number
            continue
        parts.append(b"%d" % first if first == last else b"%d-%d" % (first, last))
        first = last = number
    return b",".join(parts)
