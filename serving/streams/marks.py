"""The ids that streams of this process depend on, and the last mark of each: by it one sees what moved.

Every round reads all of them, shard by shard, with a pause after each part: so the reads of a thousand streams are
spread over the round, and nobody waits for all of them at once. A round that has no time for all is gone on with.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from serving.ids import shard_of
from serving.store.operations.streams import mark_command
from serving.store.requests import Command, chunks

#: Records that are read together.
READ_AT_ONCE = 64


@dataclass(slots=True, eq=False)
class Marked:
    """One id, the command that reads its mark, the mark that was read last, and the tickets that depend on it."""

    id: str
    command: Command
    tickets: set[str] = field(default_factory=set)
    mark: int | None = None


class Marks:
    """The ids of all streams, by shard."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._by_shard: dict[int, dict[str, Marked]] = {}
        self._ids: dict[str, Collection[str]] = {}
        self._begins_at = 0

    def __len__(self) -> int:
        return sum(map(len, self._by_shard.values()))

    def follow(self, ticket: str, ids: Collection[str]) -> None:
        """Lets a ticket depend on these ids, and on no others any more."""
        before = self._ids.get(ticket, ())
        if ids == before:
            return
        for id in ids:
            if id not in before:
                of_shard = self._by_shard.setdefault(shard_of(id, self._shards), {})
                marked = of_shard.get(id)
                if marked is None:
                    marked = of_shard[id] = Marked(id, mark_command(id, self._shards))
                marked.tickets.add(ticket)
        for id in before:
            if id not in ids:
                self._leave(ticket, id)
        self._ids[ticket] = ids

    def forget(self, ticket: str) -> None:
        """Lets a ticket depend on nothing any more."""
        for id in self._ids.pop(ticket, ()):
            self._leave(ticket, id)

    def parts(self) -> list[Sequence[Marked]]:
        """All ids, some of one shard at a time, as they are read together."""
        return [
            part
            for _, of_shard in sorted(self._by_shard.items())
            for part in chunks(list(of_shard.values()), READ_AT_ONCE)
        ]

    def round(self) -> Generator[Sequence[Marked], None, None]:
        """The parts in the order of a round. One that was left before its end is gone on with by the next.

        The part at which it was left comes first, unless that was the first: it may be the one that cannot be read.
        """
        parts, read = self.parts(), 0
        first = self._begins_at % max(1, len(parts))
        try:
            for part in parts[first:] + parts[:first]:
                yield part
                read += 1
        finally:
            self._begins_at = first + max(1, read)

    def _leave(self, ticket: str, id: str) -> None:
        shard = shard_of(id, self._shards)
        of_shard = self._by_shard[shard]
        marked = of_shard[id]
        marked.tickets.discard(ticket)
        if not marked.tickets:
            del of_shard[id]
            if not of_shard:
                del self._by_shard[shard]


def moved(part: Sequence[Marked], marks: Sequence[int]) -> Iterator[str]:
    """The tickets that depend on what moved since it was read before. `marks` are those of the part, read now.

    What is read for the first time counts as moved: nobody knows what it was when the person was read.
    """
    for marked, mark in zip(part, marks, strict=True):
        if marked.mark != mark:
            marked.mark = mark
            yield from marked.tickets
