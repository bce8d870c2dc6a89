"""Groups of ids that are larger than memory: each part of one has all that its questions read, and not much more."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinycdp._lake.client import LakeClient
from tinycdp._lake.large_groups import PART, apart, cut

from expressions.rules.identity import with_person
from expressions.rules.persons_over_time import groups, members_at, person_spans, persons_at
from expressions.rules.windows import HOUR_MS
from lake.lake import Lake
from tests.chance import seeded
from tests.expressions.rules.test_persons_over_time import ACTS, IDS, asked_at, frame_of
from tests.history import Event
from tests.sdk.lake.rows import write

START = 1_767_225_600_000


@seeded
@given(acts=ACTS, sizes=st.lists(st.integers(0, 9), min_size=len(IDS), max_size=len(IDS)), rows_max=st.integers(0, 12))
def test_a_part_has_what_its_questions_read(
    acts: list[tuple[str, str | None, int]], sizes: list[int], rows_max: int
) -> None:
    """The ids of each question are in its part; a part exceeds `rows_max` by no more than one question's rows.

    All parts together have no more rows than all questions read, one by one.
    """
    spans = person_spans(frame_of(acts), pl.col("ts"))
    names = groups(spans)
    rows_of = dict(zip(IDS, sizes, strict=True))
    questions = persons_at(asked_at(range(-1, 8)), spans).select("person", "now").unique().with_row_index("row")
    asked = with_person(questions.lazy().rename({"person": "id"}), names).collect()

    cut_asked, cut_names = cut(asked, names, spans, pl.DataFrame({"id": IDS, "len": sizes}), rows_max)

    assert cut_asked.sort("row").drop("person").equals(asked.sort("row").drop("person"))
    read: dict[int, list[str]] = {row: [] for row in asked["row"]}
    for row, id in members_at(questions, spans).iter_rows():
        read[row].append(id)
    there = {name: {name} for name in asked["person"]}
    for id, name in cut_names.iter_rows():
        there.setdefault(name, set()).add(id)
    of_parts: dict[str, list[int]] = {}
    for row, name in cut_asked.select("row", "person").iter_rows():
        assert set(read[row]) <= there[name]
        of_parts.setdefault(name, []).append(sum(rows_of[id] for id in read[row]))
    for name, of_questions in of_parts.items():
        rows = sum(rows_of[id] for id in there[name])
        if name.startswith(PART):
            assert rows <= min(rows_max + max(of_questions), sum(of_questions))
        else:
            assert rows <= rows_max


def shared_till() -> list[tuple[str, Event]]:
    """A till at which 40 users sign in, one after the other, each with visits of their own and two devices."""
    history: list[tuple[str, Event]] = []
    chance = random.Random(3)
    for user in range(40):
        now = START + user * HOUR_MS
        for device in range(2):
            id = f"anon:d{user}-{device}"
            history.append((id, Event("link", f"user:u{user}", now, {}, f"k{id}", now)))
            history.append((id, Event("track", "x", now + 5, {"v": chance.random()}, f"x{id}", now + 5)))
        history.append(("anon:till", Event("link", f"user:u{user}", now + 1, {}, f"l{user}", now + 1)))
        for number in range(3):
            for id in ("anon:till", f"user:u{user}"):
                at = now + 10 + number
                history.append((id, Event("track", "x", at, {"v": chance.random()}, f"x{id}{user}-{number}", at)))
        history.append(("anon:till", Event("unlink", None, now + HOUR_MS // 2, {}, f"n{user}", now + HOUR_MS // 2)))
    return history


def test_a_device_that_many_shared_is_answered_in_parts(tmp_path: Path) -> None:
    """The people of one till are one group. With few rows in memory each answer is as from all at once."""
    history = shared_till()
    lake = Lake(str(tmp_path / "lake"))
    write(lake, history)
    chance = random.Random(4)
    ids = [*(f"user:u{user}" for user in range(40)), "anon:till", "anon:d3-0"]
    instants = [event.ts_ms + chance.choice([0, 1, -1]) for _, event in history]
    labels = pl.DataFrame(
        [(chance.choice(ids), chance.choice(instants)) for _ in range(500)], schema=["id", "ts"], orient="row"
    )
    extra = {"n": "events.x.count", "sum": "events.x.v.sum_1d", "last": "events.x.v.last"}
    whole, parts = (LakeClient(lake.root, rows_at_once=rows) for rows in (10**9, 30))

    assert parts.asof(labels, extra=extra).frame.equals(whole.asof(labels, extra=extra).frame)


@pytest.mark.parametrize("everywhere", [[], ["gone:1"]])
def test_parts_stand_apart(everywhere: list[str]) -> None:
    """An id that two parts read is in each once, as are purged deletes; what is not cut stays together."""
    rows: list[dict[str, Any]] = [
        {"id": "a", "person": "part:0"},
        {"id": "a", "person": "part:1"},
        {"id": "b", "person": "part:1"},
        {"id": "c", "person": "c"},
        {"id": "d", "person": "d"},
        *({"id": id, "person": id} for id in everywhere),
    ]

    found = sorted(sorted(frame["id"]) for frame in apart([pl.DataFrame(rows), pl.DataFrame(rows[3:])]))

    assert found == sorted(sorted([*ids, *everywhere]) for ids in (["a"], ["a", "b"], ["c", "d"], ["c", "d"]))
