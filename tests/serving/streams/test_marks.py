"""Which ids are read for which streams, and what counts as moved."""

from __future__ import annotations

from serving.ids import shard_of
from serving.streams.marks import READ_AT_ONCE, Marks, moved


def ids_in(marks: Marks) -> list[str]:
    """The ids that are read in a round."""
    return sorted(marked.id for part in marks.parts() for marked in part)


def moves(marks: Marks, mark_of: dict[str, int]) -> set[str]:
    """The tickets that a round finds, where records have these marks."""
    return {ticket for part in marks.parts() for ticket in moved(part, [mark_of[marked.id] for marked in part])}


def test_a_ticket_moves_with_each_of_its_ids() -> None:
    """What is read for the first time has moved; from then on what has another mark."""
    marks = Marks(shards=16)
    marks.follow("one", ("user:ada", "anon:1"))
    marks.follow("two", ("user:bob", "anon:1"))
    first = {"user:ada": 1, "user:bob": 1, "anon:1": 1}

    assert moves(marks, first) == {"one", "two"}
    assert moves(marks, first) == set()
    assert moves(marks, first | {"user:bob": 2}) == {"two"}
    assert moves(marks, first | {"user:bob": 2, "anon:1": 2}) == {"one", "two"}


def test_an_id_is_read_as_long_as_somebody_depends_on_it() -> None:
    """Following other ids, or none, lets go of those that nobody else has."""
    marks = Marks(shards=16)
    marks.follow("one", ("user:ada", "anon:1"))
    marks.follow("two", ("user:bob", "anon:1"))
    marks.follow("one", ("user:ada", "anon:2"))
    assert ids_in(marks) == ["anon:1", "anon:2", "user:ada", "user:bob"]

    marks.forget("two")
    assert ids_in(marks) == ["anon:2", "user:ada"]
    marks.forget("one")
    marks.forget("one")
    assert marks.parts() == []
    assert len(marks) == 0


def test_what_is_read_together_is_of_one_shard_and_not_much() -> None:
    """So a part is one slot of a cluster, and nobody waits behind it for long."""
    marks = Marks(shards=4)
    for number in range(1_000):
        marks.follow(f"ticket-{number}", (f"user:{number}",))
    parts = marks.parts()

    assert sum(map(len, parts)) == len(marks) == 1_000
    assert max(map(len, parts)) <= READ_AT_ONCE
    assert all(len({shard_of(marked.id, 4) for marked in part}) == 1 for part in parts)


def test_a_round_goes_on_where_the_one_before_was_left() -> None:
    """So nobody is read last for ever: not where no round has time for all, and not where one part cannot be read."""
    marks = Marks(shards=16)
    for number in range(100):
        marks.follow(f"ticket-{number}", (f"user:{number}",))
    parts = marks.parts()

    def read(count: int) -> list[int]:
        """The places of the parts that a round reads that ends while the next one is read."""
        reading = marks.round()
        found = [parts.index(next(reading)) for _ in range(count + 1)]
        reading.close()
        return found[:-1]

    assert [read(7), read(7), read(7)] == [[*range(7)], [*range(7, 14)], [14, 15, *range(5)]]
    assert read(0) == []
    assert read(2) == [6, 7]
    assert [parts.index(part) for part in marks.round()] == [*range(8, 16), *range(8)]
