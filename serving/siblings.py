"""The API processes of one address: which of them this one is, and what each of them counts.

Whichever process is free answers a request, so nobody knows whose counters a scrape will meet. So each process writes
what it counted on a slate of its own every second, and whoever is asked adds up all slates. A process that takes the
place of one that died goes on from what that one's slate says: counters of the address never go back.

    process 1  →  slate 1 ─┐
    process 2  →  slate 2 ─┴→  /metrics of either

Slates are nameless files, which all processes of the address have open. They are gone with the last of these.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog

from serving.http.tally import Tally, sum_of

log = structlog.get_logger()

#: How often a process writes on its slate.
NOTE_S = 1.0
#: What is first on a slate: how often it was written, and the bytes of what stands there now.
_HEAD = struct.Struct("!QQ")
#: Each half of a slate: what is written stands in the one, what stood there before in the other. What a process counts
#: is bounded by its paths and takes some 30 kB; a file has no more than was written.
HALF_BYTES = 4 * 1024 * 1024


class Slate:
    """A file with one text, which one process writes and others read meanwhile: each reads a whole text.

    A new text stands beside the one before, until the head names it. So a writer may be killed at any step.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor

    def write(self, text: bytes) -> None:
        """Replaces what stands there. Raises `ValueError` for more than `HALF_BYTES`."""
        if len(text) > HALF_BYTES:
            raise ValueError(f"{len(text)} bytes are more than a slate takes: {HALF_BYTES}")
        times = self._head()[0] + 1
        os.pwrite(self._file, text, self._place(times))
        os.pwrite(self._file, _HEAD.pack(times, len(text)), 0)

    def read(self) -> bytes:
        """What stands there; nothing before the first time."""
        while True:
            head = self._head()
            text = os.pread(self._file, head[1], self._place(head[0]))
            if self._head() == head:  # else it was written twice meanwhile, perhaps over this text
                return text

    def _head(self) -> tuple[int, int]:
        head = os.pread(self._file, _HEAD.size, 0)
        times, length = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
        return times, length

    def _place(self, times: int) -> int:
        return _HEAD.size + times % 2 * HALF_BYTES


class Counted(NamedTuple):
    """What a process counted since it began, how many change streams it has open, and how many it takes."""

    pid: int
    tally: Tally
    streams_open: int
    streams_max: int


class Siblings:
    """This process, by its number from 1 on, among those of its address. Without slates it is the only one.

    `rates` is the descriptor of the file in which all of them count how often keys ask (`serving.access.rates`).
    """

    def __init__(self, number: int = 1, slates: Sequence[Slate] = (), rates: int | None = None) -> None:
        self.number, self.rates = number, rates
        self._slates = tuple(slates)
        before = _on(self._slates[number - 1]) if self._slates else None
        self._before = Tally() if before is None else before.tally

    @property
    def is_alone(self) -> bool:
        """Whether no other process answers at this address."""
        return not self._slates

    async def run(self, count: Callable[[], Counted]) -> None:
        """Writes what this process counted, at once and again and again."""
        while not self.is_alone:
            try:
                self.note(count())
            except Exception as error:  # a task that ends would let counters stand still
                log.error("counters_not_noted", exc_info=error)
            await asyncio.sleep(NOTE_S)

    def note(self, own: Counted) -> None:
        """Writes what this process counted, together with those in whose place it came.

        On a disk that is full the slate stays as it was.
        """
        if not self.is_alone:
            whole = own._replace(tally=sum_of([self._before, own.tally]))
            with suppress(OSError):
                self._slates[self.number - 1].write(pickle.dumps(whole, pickle.HIGHEST_PROTOCOL))

    def counted(self, own: Counted) -> dict[int, Counted]:
        """What each process counted, by its number: this one until now, the others within the last `NOTE_S`.

        What an answer says of this process is written first: an answer of another one later says no less.
        """
        if self.is_alone:
            return {self.number: own}
        self.note(own)
        of_each = {number: _on(slate) for number, slate in enumerate(self._slates, 1)}
        return {number: counted for number, counted in of_each.items() if counted is not None}


def _on(slate: Slate) -> Counted | None:
    text = slate.read()
    if not text:
        return None
    counted: Counted = pickle.loads(text)  # written by a process of the same parent, in a file that no other can open
    return counted
