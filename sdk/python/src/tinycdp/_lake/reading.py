"""One version of the lake's events, read only: the rows as executions read them, and those of some people at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property

import polars as pl
from deltalake.exceptions import DeltaError

from .._engine import (
    ACT_KINDS,
    EVENTS,
    FILES_MAX,
    GONE,
    Bound,
    GroupedFiles,
    Known,
    ReadOnlyLake,
    acts_in_own_time,
    after_deletes,
    known_at,
    linked_persons,
    plan,
    with_person,
)
from .._engine import LakeError as EngineError
from ..errors import LakeError

#: Rows of the lake that are in memory at once, about; and those that are read at a time.
ROWS_AT_ONCE, BATCH_ROWS = 200_000, 50_000
#: People are few where there is one for so many rows: each batch of rows is then looked through for them.
FEW = 100


class Reading:
    """The events of a lake at a version, without those that were received after an instant.

    Deletes count whenever they came.
    """

    def __init__(self, lake: ReadOnlyLake, version: int, until_ms: int | None, rows_at_once: int) -> None:
        self.lake, self.version, self.until_ms = lake, version, until_ms
        self.rows_at_once = rows_at_once
        self._is_in = pl.lit(True)
        if until_ms is not None:
            self._is_in = (pl.col("received_at") <= until_ms) | (pl.col("kind") == "delete")

    def events(self) -> pl.LazyFrame:
        """The frame of events that executions read."""
        return self.lake.events(self.version).filter(self._is_in)

    def sent(self) -> pl.LazyFrame:
        """The same with what was sent, as JSON text: properties, traits, context."""
        names = [*self.lake.events(self.version).collect_schema(), "properties", "traits", "context"]
        return self.lake.scan(EVENTS, self.version).select(names).filter(self._is_in)

    def acts(self, known: Known) -> pl.LazyFrame:
        """The links and unlinks that no delete covers, with `known_at`: since when each is known, UTC ms."""
        if known == "event_time" or self._has_imports:
            return self._acts_in_own_time.lazy().with_columns(pl.col(known).alias("known_at"))
        # What was sent live is known by its row alone, so no event has to be read.
        acts = self.events().drop("props").filter(pl.col("kind").is_in(ACT_KINDS)).collect()
        return after_deletes(acts.lazy()).with_columns(known_at(known).alias("known_at"))

    @cached_property
    def _has_imports(self) -> bool:
        imported = self.events().filter(pl.col("seq").is_null()).select("id").head(1)
        return not imported.collect(engine="streaming").is_empty()

    @cached_property
    def _acts_in_own_time(self) -> pl.DataFrame:
        return acts_in_own_time(self.lake.scan(EVENTS, self.version).filter(self._is_in))

    @cached_property
    def persons(self) -> pl.DataFrame:
        """id, person of every id that belongs to another today."""
        return linked_persons(self.events())

    @cached_property
    def size(self) -> int:
        """The rows of the version."""
        return int(self.events().select(pl.len()).collect().item())

    @property
    def is_large(self) -> bool:
        """Whether there are more rows than are read at once."""
        return self.size > self.rows_at_once

    @cached_property
    def people(self) -> int:
        """How many people there are today at most."""
        rows = with_person(self.events().select("id"), self.persons)
        return int(rows.select(pl.col("person").n_unique()).collect(engine="streaming").item())

    def sizes(self, ids: pl.Series) -> pl.DataFrame:
        """id, len: how many rows each of these ids has, if any."""
        rows = self.events().select("id").filter(pl.col("id").is_in(ids.implode()))
        return rows.group_by("id").len().collect(engine="streaming")

    def parts(
        self, bounds: Iterable[Bound], persons: pl.DataFrame, people: pl.Series | None = None
    ) -> Iterator[pl.DataFrame]:
        """Every row of some people at a time, with a column `person`, by `persons` (id, person).

        With `people` the rows of these alone, and perhaps of more. `props` is left out where no definition reads a
        field. Rows beyond `ROWS_AT_ONCE` wait in files without names, in the folder that TMPDIR names.
        """
        needed = plan(bound.expr for bound in bounds)
        unread = [] if needed.attributes or any(needed.projection.events.values()) else ["props"]
        is_wanted = pl.lit(True)
        if people is not None and len(people) < self.size // FEW:
            # A purged delete has the hash of an id, so its person is unknown.
            is_wanted = pl.col("person").is_in(people.implode()) | pl.col("id").str.starts_with(GONE)
        if not self.is_large:
            everything = with_person(self.events().drop(unread), persons).filter(is_wanted).collect()
            if len(everything):
                yield everything
            return
        count = min(-(-self.size // self.rows_at_once), FILES_MAX)
        with GroupedFiles(count, "person", pl.col("id").str.starts_with(GONE)) as files:
            for batch in self.lake.event_batches(self.version, BATCH_ROWS):
                rows = with_person(batch.lazy().filter(self._is_in).drop(unread), persons).filter(is_wanted)
                files.add(rows.collect())
            yield from files.take()


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Says in the client's own error that the lake cannot be read."""
    try:
        yield
    except EngineError as error:
        raise LakeError(str(error)) from error
    except (pl.exceptions.ComputeError, DeltaError, OSError) as error:
        raise LakeError(
            f"{uri}: {str(error).partition(chr(10))[0]} (what a version needs is kept for a day after it was replaced: "
            "open the lake anew for the newest version)"
        ) from error
