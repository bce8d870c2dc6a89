"""Groups of ids that are too large for memory, cut by question: a question reads the ids that were its person's then.

Ids that were ever one person's are one group, and a device that thousands share makes one group of them all. So the
questions of a large group are put into parts, person by person and in order of time. A part has the rows of all ids
that its questions read. An id that several parts read is in each of them.

The rows of a part are at most `rows_max` more than those that one of its questions reads: one person at one instant is
never cut. Parts have no more rows in all than their questions read, one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush

import polars as pl

from .._engine import BEGINNING_MS, END_MS, GONE, with_person

#: The beginning of a part's name. No id begins so.
PART = "part:"


def cut(
    asked: pl.DataFrame, names: pl.DataFrame, spans: pl.DataFrame, sizes: pl.DataFrame, rows_max: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """`asked` and `names` with parts in the place of groups of more than `rows_max` rows.

    `asked` has row, id (a person), now, and person, the name of the group. `names` has id and person, of every id whose
    group has another name than the id. In what is returned an id of a large group is there once for each part that
    reads it. `sizes` has the rows of ids: id, len.
    """
    groups = with_person(sizes.lazy(), names).group_by("person").agg(pl.col("len").sum()).collect()
    large = groups.filter(pl.col("len") > rows_max)["person"]
    is_large = pl.col("person").is_in(large.implode())
    questions = asked.filter(is_large).sort("id", "now")
    if questions.is_empty():
        return asked, names
    parts: list[str] = []
    read: list[tuple[str, str]] = []
    for part, entered in _parts(questions, spans, dict(sizes.iter_rows()), rows_max):
        parts.append(part)
        read += [(id, part) for id in entered]
    cut_questions = questions.with_columns(pl.Series("person", parts, dtype=pl.String))
    cut_names = pl.DataFrame(read, schema={"id": pl.String, "person": pl.String}, orient="row")
    return pl.concat([asked.filter(~is_large), cut_questions]), pl.concat([names.filter(~is_large), cut_names])


def apart(rows_of_parts: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same frames, in which the rows of each part stand alone: an id may have rows in several."""
    is_cut, is_everywhere = pl.col("person").str.starts_with(PART), pl.col("id").str.starts_with(GONE)
    for rows in rows_of_parts:
        names = rows.filter(is_cut)["person"].unique()
        if names.is_empty():
            yield rows
            continue
        whole = rows.filter(~is_cut)
        if not whole.is_empty():
            yield whole
        for name in names:
            yield rows.filter((pl.col("person") == name) | is_everywhere)


def _parts(
    questions: pl.DataFrame, spans: pl.DataFrame, sizes: Mapping[str, int], rows_max: int
) -> Iterator[tuple[str, list[str]]]:
    """For each question the name of its part, and the ids that the part does not have yet."""
    number, rows, largest = 0, 0, 0
    there: set[str] = set()
    persons = questions["id"].unique().implode()
    of_persons = spans.filter(pl.col("person").is_in(persons)).sort("since").partition_by("person", as_dict=True)
    for (person,), own in questions.partition_by("id", as_dict=True, maintain_order=True).items():
        members = _Members(str(person), of_persons.get((person,), spans.clear()), sizes)
        for now in own["now"].to_list():
            entered = [id for id in members.enter(now) if id not in there]
            if there and rows + _rows(entered, sizes) > rows_max + max(largest, members.rows):
                number, rows, largest = number + 1, 0, 0
                there, entered = set(), list(members.ids)
            there.update(entered)
            rows += _rows(entered, sizes)
            largest = max(largest, members.rows)
            yield f"{PART}{number}", entered


class _Members:
    """The ids that are a person's at instants that only rise, and how many rows they have: `ids`, `rows`."""

    def __init__(self, person: str, spans: pl.DataFrame, sizes: Mapping[str, int]) -> None:
        """`spans` are those of the person, by since."""
        self._sizes = sizes
        # Itself, unless it ever belonged to another: then it has spans of its own.
        is_owned = (spans["id"] == person).any()
        self._coming = deque(spans.select("since", "until", "id").iter_rows())
        if not is_owned:
            self._coming.appendleft((BEGINNING_MS, END_MS, person))
        self._leaving: list[tuple[int, str]] = []
        self.ids: dict[str, None] = {}
        self.rows = 0

    def enter(self, now: int) -> list[str]:
        """Goes on to an instant; the ids that have become the person's since the one before, and are so still."""
        entered: dict[str, None] = {}
        while self._coming and self._coming[0][0] <= now:
            _, until, id = self._coming.popleft()
            if until > now:
                heappush(self._leaving, (until, id))
                entered[id] = None
        while self._leaving and self._leaving[0][0] <= now:
            _, id = heappop(self._leaving)
            del self.ids[id]
            self.rows -= self._sizes.get(id, 0)
        new = [id for id in entered if id not in self.ids]
        self.ids |= entered
        self.rows += _rows(new, self._sizes)
        return new


def _rows(ids: Iterable[str], sizes: Mapping[str, int]) -> int:
    return sum(sizes.get(id, 0) for id in ids)
