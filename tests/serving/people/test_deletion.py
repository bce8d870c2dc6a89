"""In which order the ids of a person are deleted, and what that costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving.people.deletion import farthest_first
from serving.store.records import Record
from serving.store.scripts.claim import Owner
from tests.calls import calls


def persons(ids: int, owner_of: Callable[[int], int]) -> list[Record]:
    """The records of a person with so many ids, id0 the person's own; each other belongs to a lower number."""
    owners = [None, *(Owner(f"id{owner_of(number)}", 0, 0, "") for number in range(1, ids))]
    return [Record(f"id{number}", owner=owner) for number, owner in enumerate(owners)]


def in_a_row(number: int) -> int:
    """Each id belongs to the one before it."""
    return number - 1


def to_one(number: int) -> int:
    """All ids belong to the person's own."""
    return 0


def test_what_is_farthest_from_the_id_that_was_asked_for_comes_first() -> None:
    """A delete that is cut off has left every id that is still there within reach of that id, which comes last."""
    row = persons(5, in_a_row)

    assert farthest_first(row, "id0") == ["id4", "id3", "id2", "id1", "id0"]
    assert farthest_first(row, "id1") == ["id4", "id3", "id2", "id0", "id1"]
    assert farthest_first(persons(4, to_one), "id2") == ["id3", "id1", "id0", "id2"]


@pytest.mark.parametrize("owner_of", [in_a_row, to_one])
def test_the_work_grows_with_the_ids(owner_of: Callable[[int], int]) -> None:
    """Twice as many ids are twice the work, in a row or around one id."""
    few, many = persons(50, owner_of), persons(100, owner_of)

    assert calls(lambda: farthest_first(many, "id0"), of_c=True) < 2.2 * calls(
        lambda: farthest_first(few, "id0"), of_c=True
    )
