"""When answers are for: one instant for all ids, or an instant of its own for each row that is asked for.

`OneInstant`     an answer for each id. The instant is a literal.
`RowInstants`    an answer for each row of `asked`: id, now. An id may be asked for at many instants. What its events
                 contribute is read once for all of them. The instant is the column `now`, the edges of windows are
                 columns too, and the rows of one answer are known by their number, `row`.
`KnownInstants`  the same where a person's ids differ from instant to instant, and where it counts since when a row is
                 known: each row of `asked` has ids of its own, and events that are known later have no part in it.

All give the same answers by the same expressions: they differ in what `now` is, and in the column that tells the rows
of one answer from those of others (`key`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import polars as pl

from ..rules.windows import DAY_MS, Window, Zone, lower_ms


class OneInstant:
    """One instant for all ids, UTC ms."""

    key = "id"
    columns: tuple[str, ...] = ("id",)
    #: The columns of events, beside `id` and `ts`, that `rows` reads.
    read: tuple[str, ...] = ()

    def __init__(self, now_ms: int, zone: Zone) -> None:
        self._now_ms, self._zone = now_ms, zone
        self.ms = pl.lit(now_ms, dtype=pl.Int64)
        #: The start of the date in the workspace's zone, as if that date were one of UTC.
        self.today_ms = pl.lit(zone.day(now_ms) * DAY_MS, dtype=pl.Int64)

    def lower(self, window: Window | None) -> pl.Expr:
        """The instant up to which nothing counts (`windows.lower_ms`)."""
        return pl.lit(lower_ms(window, self._now_ms, self._zone), dtype=pl.Int64)

    def rows(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows of each answer, from rows with an `id`."""
        return rows

    def contributing(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows that `every` and folds need, from rows with the key, `ts` and what each contributes."""
        return rows

    def every(self, folded: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
        """One row for each answer, with the folded columns."""
        return folded


class RowInstants:
    """The instants of `asked`: id, now (UTC ms). The edges of `windows` are found once for each distinct instant."""

    key = "row"
    columns: tuple[str, ...] = ("id", "now")
    read: tuple[str, ...] = ()
    ms = pl.col("now")
    today_ms = pl.col("today")

    def __init__(self, asked: pl.DataFrame, windows: Iterable[Window | None], zone: Zone) -> None:
        self._names = {window: f"lower{number}" for number, window in enumerate(dict.fromkeys(windows))}
        instants = asked["now"].unique().to_list()
        edges = {name: [lower_ms(window, now, zone) for now in instants] for window, name in self._names.items()}
        today = [zone.day(now) * DAY_MS for now in instants]
        columns = {"now": instants, "today": today, **edges}
        by_instant = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64))
        own = asked.select("id", pl.col("now").cast(pl.Int64))
        self._asked = own.join(by_instant, on="now", how="left", maintain_order="left").with_row_index("row")

    def lower(self, window: Window | None) -> pl.Expr:
        """The instant up to which nothing counts, by the row's own instant."""
        return pl.col(self._names[window])

    def rows(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Each row as often as its id is asked for, with the columns of the instant."""
        return rows.join(self._asked.lazy(), on="id")

    def contributing(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The rows that contribute anything: most events are outside of most windows, and the product is large."""
        names = [name for name in rows.collect_schema() if name not in (self.key, "ts")]
        return rows.filter(pl.any_horizontal(pl.col(names).is_not_null()) if names else pl.lit(False))

    def every(self, folded: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
        """One row for each row of `asked` whose id has a row among the events, with the folded columns."""
        asked = self._asked.lazy().join(events.select("id"), on="id", how="semi")
        return asked.join(folded, on=self.key, how="left")


class Asked(NamedTuple):
    """People and instants that are asked for: `rows` are id (the person) and now, `members` are row and id.

    `row` is the number of a row of `rows`, from 0, and `id` one of the ids that were the person's then.
    """

    rows: pl.DataFrame
    members: pl.DataFrame


class KnownInstants(RowInstants):
    """The instants of `asked`, each with ids of its own. Of their events those count that are known by then.

    Events have the column `known_at`, UTC ms.
    """

    columns = ("row", "id", "now")
    read = ("known_at",)

    def __init__(self, asked: Asked, windows: Iterable[Window | None], zone: Zone) -> None:
        super().__init__(asked.rows, windows, zone)
        self._members = asked.members.with_columns(pl.col("row").cast(self._asked.schema["row"]))

    def rows(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Each row as often as its id is asked for after the row was known, with the columns of the instant."""
        of_members = self._members.lazy().join(self._asked.drop("id").lazy(), on="row")
        return rows.join(of_members, on="id").filter(pl.col("known_at") <= pl.col("now"))

    def every(self, folded: pl.LazyFrame, events: pl.LazyFrame) -> pl.LazyFrame:
        """One row for each row of `asked`, with the folded columns."""
        return self._asked.lazy().join(folded, on=self.key, how="left")


Instants: TypeAlias = OneInstant | RowInstants


def instants_of(now: int | pl.DataFrame | Asked, windows: Iterable[Window | None], zone: Zone) -> Instants:
    """The instants of a question: one, UTC ms; those of a frame with `id` and `now`; or those of `Asked`."""
    match now:
        case int():
            return OneInstant(now, zone)
        case Asked():
            return KnownInstants(now, windows, zone)
        case _:
            return RowInstants(now, windows, zone)
