"""The rows of each person come together, in files that fit into memory."""

from __future__ import annotations

import polars as pl

from expressions.batch.frames import event_frame
from expressions.rules.deletes import GONE
from expressions.rules.properties import typed
from serving.lookups.person_files import PersonFiles

PEOPLE, EACH, LARGE = 40, 5, 10_000


def rows_of(user: str, size: int) -> list[dict[str, object]]:
    """Events of a user, with a text of some size."""
    return [
        {"id": user, "kind": "track", "name": "a", "event_id": f"{n}", "ts": n, "props": {"text": typed("x" * size)}}
        for n in range(EACH)
    ]


def test_people_come_together_and_few_bytes_at_a_time() -> None:
    """A file with more bytes than fit is read in parts: no person is cut, all rows are there, and a delete without a
    name comes with each part."""
    linked = pl.DataFrame({"id": ["anon:1"], "person": ["user:1"]})
    nameless = {"id": f"{GONE}x", "kind": "delete", "event_id": "d", "ts": 1}
    users = [f"user:{number}" for number in range(PEOPLE)]
    rows = [row for user in (*users, "anon:1") for row in rows_of(user, LARGE)]
    at_once = PEOPLE * EACH * LARGE // 8
    with PersonFiles(2, linked, bytes_at_once=at_once) as files:
        for first in range(0, len(rows), 50):
            files.add(event_frame([*rows[first : first + 50], *([nameless] if first == 0 else [])]).collect())
        parts = list(files.take())

    assert len(parts) > 2
    persons = [set(part.filter(pl.col("kind") == "track")["person"]) for part in parts]
    assert sum(map(len, persons)) == len(set().union(*persons)) == PEOPLE
    assert sum(map(len, parts)) == len(rows) + len(parts)
    assert all((part["kind"] == "delete").sum() == 1 for part in parts)
    assert max(part.estimated_size() for part in parts) < 3 * at_once


def test_a_person_who_is_too_large_is_not_cut() -> None:
    """All rows of a person are one part, whatever their bytes."""
    with PersonFiles(2, pl.DataFrame({"id": [], "person": []}), bytes_at_once=LARGE) as files:
        files.add(event_frame(rows_of("user:1", LARGE)).collect())

        assert [len(part) for part in files.take()] == [EACH]
