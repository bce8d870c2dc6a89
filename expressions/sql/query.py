"""The query that grows while a definition is compiled: which columns and CTEs it needs, and how they are put together.

1. `once`, `ids`, `clock`   where it starts (`rows`)
2. `seen`                   id, name, ts, now_ms; today and day where dates are needed; a column for each kind of each
                            property; what is computed of an event: one row an event by now, of the names that are read
3. `folds`                  id, and a column a fold: one row an id that has such an event; one pass over `seen`
4. (others)                 id, and columns: one row an id; a CTE each for what needs an order or a count of values
5. `profile_KEY`            id, and a column for each kind of each field: one row an id (`profile`)
6. `answers`                id, now_ms, today where it is needed, the columns of 3, 4 and 5, and what is computed of
                            them: one row an id
7. the SELECT               id, the values, exact: one row an id
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlglot import exp

from ..ops import Expr
from ..plan import COUNTED_KINDS, Need
from ..rules.dtypes import Kind
from ..rules.windows import END_MS, UTC_ZONE, Window, Zone
from .cells import (
    FALSE,
    TRUE,
    Cell,
    Sql,
    all_of,
    any_of,
    cast,
    coalesced,
    column,
    is_null,
    negated,
    number_cell,
    place,
    text,
    whole,
)
from .dates import day_of, with_calendar
from .engines import Engine
from .profile import Profile
from .rows import ROW_CTES, clock, events_once, written_ctes
from .selects import cross_join, select
from .steps import Names, Steps, read_by, without_unread

#: How each query begins.
_WITH = "WITH RECURSIVE "

#: No fresh name is one of these: columns of the table and of the answer, and CTEs with a fixed name.
_FIXED_NAMES = """
    id event_id kind name ts seq received_at props number string boolean json exact now_ms today day place times
    clock calendar periods starts_at ends_at offset_ms least_day copies late kept once copy turn counts counted_at
    first_received_at logged_at met deleted deleted_seq deleted_at live repeated events seen folds identified ids
    answers purged imported named digest
    unlinked unlinked_seq linked linked_seq owners owner above removes people person
"""


@dataclass(frozen=True)
class Tallied:
    """What a Tally reads as: a CTE with id, `kinds`, times and place, one row an id and value.

    `times` says how often the value came, `place` is its place in the order of values, from 1.
    """

    table: str
    kinds: Mapping[Kind, Sql]


#: What a slot reads as inside a present.
Reading: TypeAlias = Cell | Tallied


@dataclass(frozen=True)
class Scope:
    """Where an expression is computed: the rows of `seen` or of `answers`.

    `steps` has the columns that are computed there. `argument` and `slots` are the cells of those leaves, inside a lift
    and inside a present. `cells` has what was compiled here: each distinct part once.
    """

    query: Query
    steps: Steps
    argument: Cell | None = None
    slots: Mapping[str, Reading] = field(default_factory=dict)
    cells: dict[Expr, Cell] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """The engine the query is for."""
        return self.query.engine

    def let(self, value: Sql, wish: str = "step") -> Sql:
        """A column that holds the value, so that it can be read several times."""
        return self.steps.let(value, wish)


class Query:
    """The query of one definition, while it is put together. The `shared` parts are used more than once."""

    def __init__(
        self, engine: Engine, zone: Zone, now_ms: int | None, table: exp.Table, shared: frozenset[Expr]
    ) -> None:
        self.engine = engine
        self.shared = shared
        self.names = Names([*_FIXED_NAMES.split(), *(part.name for part in table.parts)])
        self.events = Scope(self, Steps(self.names))
        self.people = Scope(self, Steps(self.names))
        self.profile = Profile(engine, self.names)
        self.readings: dict[Need, Reading] = {}
        self._zone, self._now_ms, self._table = zone, now_ms, table
        self._has_today = self._has_day = False
        self._event_names: set[str] = set()
        self._any_name = False
        self._properties: dict[str, Cell] = {}
        self._columns: list[exp.Expr] = []
        self._folds: list[exp.Expr] = []
        self._ctes: dict[str, exp.Query] = {}
        self._joined: dict[str, list[str]] = {}
        self._inexact: list[Sql] = []

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────

    def property(self, name: str) -> Cell:
        """A property of the event at hand."""
        if name not in self._properties:
            columns: dict[Kind, Sql] = {}
            for kind, value in self.engine.field(name).items():
                added = self.names.fresh(f"{name}_{kind}")
                self._columns.append(exp.alias_(value, added, copy=False))
                columns[kind] = column(added)
            self._properties[name] = Cell(columns)
        return self._properties[name]

    def time(self) -> Cell:
        """When the event at hand happened."""
        return _whole_number(cast(column("ts"), "DOUBLE"))

    def day(self) -> Cell:
        """The date of the event at hand."""
        self._has_day = True
        return _whole_number(column("day"))

    def today(self) -> Sql:
        """The date of the answer, days since 1970-01-01."""
        self._has_today = True
        return column("today")

    def now(self) -> Cell:
        """The instant of the answer."""
        return _whole_number(cast(column("now_ms"), "DOUBLE"))

    # ── which events ─────────────────────────────────────────────────────────────────────────────────────────────

    def named(self, event: str | None) -> Sql:
        """Whether the event at hand has the name; None stands for any name."""
        if event is None:
            self._any_name = True
            return TRUE
        self._event_names.add(event)
        return column("name").eq(text(event))

    def within(self, window: Window | None) -> Sql:
        """Whether the event at hand is inside the window (`windows.lower_ms`). No event of `seen` is after now."""
        if window is None:
            return TRUE
        if window.dates:
            self._has_day = True
            return column("day") > self.today() - whole(window.length)
        return column("ts") > column("now_ms") - whole(window.ms)

    # ── what is computed of them ─────────────────────────────────────────────────────────────────────────────────

    def fold(self, value: Sql, wish: str) -> Sql:
        """A new column of `folds`, from an aggregate over the events of an id; NULL for an id without events."""
        name = self.names.fresh(wish)
        self._folds.append(exp.alias_(value, name, copy=False))
        self._joined.setdefault("folds", []).append(name)
        return column(name)

    def add(self, wish: str, query: exp.Query, joined: Iterable[str] = ()) -> str:
        """The name of a new CTE. Its columns `joined` are joined to the ids."""
        name = self.names.fresh(wish)
        self._ctes[name] = query
        columns = list(joined)
        if columns:
            self._joined[name] = columns
        return name

    def first_of(self, wish: str, cell: Cell, when: Sql, order: Sequence[exp.Ordered]) -> Cell:
        """The value of the first event in the order, of those inside `when` that have a value."""
        values = [value.copy() for value in cell.kinds.values()]
        inside = all_of([when, negated(is_null(cell))])
        ranked = self.add(f"{wish}_ranked", select("seen", "id", *values, place(order), where=inside))
        return self.picked(wish, ranked, cell.kinds)

    def picked(self, wish: str, table: str, kinds: Mapping[Kind, Sql]) -> Cell:
        """The values in the row of each id that has place 1."""
        named = {kind: self.names.fresh(f"{wish}_{kind}") for kind in kinds}
        columns = [exp.alias_(value, named[kind]) for kind, value in kinds.items()]
        best = select(table, "id", *columns, where=column("place").eq(whole(1)))
        self.add(wish, best, joined=named.values())
        return Cell({kind: column(name) for kind, name in named.items()})

    def cut(self, beyond: Sql) -> None:
        """Marks the answer as not exact where this holds: a list or a tally had more values than it keeps (S12)."""
        self._inexact.append(coalesced([beyond, FALSE]))

    # ── put together ─────────────────────────────────────────────────────────────────────────────────────────────

    def written(self, values: Sequence[exp.Expr]) -> str:
        """The text of the whole query: id, the values, exact. Raises ValueError for a table with the name of a CTE."""
        clocks = clock(self.engine, self._now_ms, self._zone, dated=self._has_today or self._has_day)
        ctes = self.events.steps.over(self._seen(), "seen")
        if self._folds:
            ctes["folds"] = select("seen", "id", *self._folds, by=["id"])
        ctes |= self._ctes
        profile, attributes = self.profile.ctes()
        ctes |= profile
        ctes |= self.people.steps.over(self._answers(self._joined | attributes), "answers")
        if not self._table.db and self._table.name.lower() in {*clocks, *ROW_CTES, *ctes}:
            raise ValueError(f"a part of the query is called {self._table.name} too; put the table's schema before it")
        final = select("answers", "id", *values, exp.alias_(negated(any_of(self._inexact)), "exact"))
        ctes, read = without_unread(ctes, read_by(final))
        rows = events_once(self._table, self.engine, bool(self._properties or self.profile.keys), read)
        clocks, _ = without_unread(clocks, rows.read)
        for name, query in ctes.items():
            final.with_(name, as_=query, recursive=True, copy=False)
        text = final.sql(dialect=self.engine.name, pretty=True, copy=False)
        assert text.startswith(_WITH), "the final SELECT reads a CTE"
        return _WITH + ", ".join([*written_ctes(clocks, self.engine), *rows.ctes, text.removeprefix(_WITH)])

    def _seen(self) -> exp.Select:
        conditions = [
            column("kind").isin(*(text(kind) for kind in sorted(COUNTED_KINDS))),
            column("ts") <= column("now_ms"),
        ]
        if not self._any_name:
            conditions.insert(0, column("name").isin(*(text(name) for name in sorted(self._event_names))))
        query = select("once", "id", "name", "ts", *self._columns, "now_ms", where=all_of(conditions))
        cross_join(query, "clock")
        if self._has_today:
            query.select(column("today"), copy=False)
        if self._has_day:
            query.select(exp.alias_(day_of(column("ts"), self._zone), "day"), copy=False)
            if self._zone != UTC_ZONE:
                with_calendar(query, "ts")
        return query

    def _answers(self, joined: Mapping[str, Sequence[str]]) -> exp.Select:
        query = select("ids", column("id", "ids"), "now_ms")
        cross_join(query, "clock")
        if self._has_today:
            query.select(column("today"), copy=False)
        for table, columns in joined.items():
            is_same = column("id", table).eq(column("id", "ids"))
            query.join(exp.Join(this=exp.table_(table), side="LEFT", on=is_same), copy=False)
            query.select(*(column(name, table) for name in columns), copy=False)
        return query


def _whole_number(value: Sql) -> Cell:
    return number_cell(value, always=True, most=float(END_MS), whole=True)
