"""The client of the lake: any definition at any instant, by the engine's own batch.

labels (id, ts)   →  whose each id was at its instant  →  each distinct person and instant once, a question
rows of the lake  →  every row of some people at a time
both              →  the answers to the questions of these people  →  a row a label, in order
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from .._engine import (
    ACT_KINDS,
    EVENTS,
    GONE,
    KNOWN,
    Bound,
    Known,
    ReadOnlyLake,
    Zone,
    answers_as_of,
    answers_over_time,
    counted_lazily,
    groups,
    known_events,
    person_spans,
    persons_at,
    to_sql,
    with_person,
)
from ..errors import LakeError, UnknownIds
from .answers import Answers, Column, Table, columns_of
from .definitions import Definitions, card_of
from .labels import frame_of, questions_of
from .large_groups import apart, cut
from .reading import ROWS_AT_ONCE, Reading, reading
from .segment import Segment
from .times import MOMENT, Instant, many_ms_of, moment, ms_of, text_of

#: Unknown ids that a warning or a refusal names, and characters of each.
NAMED_MAX, NAME_LENGTH_MAX = 5, 100
#: Values of one answer of `traits`, ids and instants included: some 1.3 GB, and 3.5 GB while they are made.
VALUES_MAX = 100_000_000


class LakeClient:
    """One version of a lake, and the definitions of the moment when it was opened. Changes nothing; safe to keep.

    Made by `tinycdp.lake`.
    """

    def __init__(
        self,
        uri: str,
        version: int | None = None,
        received_until: Instant | None = None,
        rows_at_once: int = ROWS_AT_ONCE,
    ) -> None:
        self.uri = str(uri)
        until_ms = None if received_until is None else ms_of("received_until", received_until)
        if version is not None and (isinstance(version, bool) or not hasattr(version, "__index__") or version < 0):
            raise ValueError(
                f"version {version!r}: give a whole number from 0 on, as `version` of a client or a card says"
            )
        if not self.uri:
            raise ValueError("uri '' names no lake: give a folder, or an address such as s3://shop/lake")
        now_ms = time.time_ns() // 1_000_000
        if until_ms is not None and until_ms > now_ms:
            raise ValueError(
                f"received_until {text_of(until_ms)} is still to come, and so are rows that are received until then: "
                "give an instant that is past"
            )
        lake = ReadOnlyLake(self.uri)
        with reading(self.uri):
            fixed = lake.fixed()
            self.version: int = lake.at(EVENTS, version).version()
            self._definitions = Definitions(lake.definitions())
        self.received_until: datetime | None = None if until_ms is None else moment(until_ms)
        self.time_zone: str = fixed.get("time_zone", "UTC")
        self._zone = _zone_of(self.uri, self.time_zone)
        self._now_ms = now_ms if until_ms is None else until_ms
        self._reading = Reading(lake, self.version, until_ms, rows_at_once)

    def __repr__(self) -> str:
        return f"tinycdp.lake({self.uri!r}, version={self.version})"

    @property
    def now(self) -> datetime:
        """The instant of answers that name none: `received_until`, else when the lake was opened."""
        return moment(self._now_ms)

    @property
    def definitions(self) -> pl.DataFrame:
        """kind, key, expression, version of every saved definition."""
        return self._definitions.frame()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def events(self) -> pl.LazyFrame:
        """The rows that count, each event once, with their person of today; read when it is collected.

        Columns: person, id, kind, name, ts, received_at (in UTC), event_id; properties, traits and context as they were
        sent, as JSON text; and `props`, which `event_property` reads.
        """
        with reading(self.uri):
            return self._events

    @cached_property
    def _events(self) -> pl.LazyFrame:
        counting = counted_lazily(self._reading.sent()).filter(~pl.col("kind").is_in(ACT_KINDS))
        return with_person(counting, self._reading.persons).select(
            "person",
            "id",
            "kind",
            "name",
            pl.col("ts", "received_at").cast(MOMENT),
            "event_id",
            "properties",
            "traits",
            "context",
            "props",
        )

    @staticmethod
    def event_property(name: str, kind: Literal["number", "string", "boolean"] = "number") -> pl.Expr:
        """A property of `events` by its dotted name, as a column of this name; null where it is of another kind."""
        if kind not in ("number", "string", "boolean"):
            raise ValueError(f"kind {kind!r}: choose number, string or boolean")
        return pl.col("props").map.get(name).struct.field(kind).alias(name)

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def traits(
        self,
        traits: Sequence[str] | str = (),
        *,
        at: Instant | Iterable[Instant] | None = None,
        extra: Mapping[str, str] | None = None,
        kinds: Mapping[str, str] | None = None,
    ) -> Answers:
        """Definitions of everybody at one instant or many, in one pass over the events.

        `traits` are keys of saved traits or segments, or expressions; `extra` names expressions; `kinds` is as for
        `asof`. The columns are id (the person), at, and one each. There is a row for every person of today and every
        instant, sorted by id and instant: links, unlinks and deletes count whenever they came, as for
        `tinycdp users --at`. Raises ValueError where that is more than `VALUES_MAX` values.
        """
        named = self._definitions.named(traits, extra)
        if taken := [name for name in named if name in ("id", "at")]:
            raise ValueError(f"{taken[0]!r} names a column of every answer: name the trait otherwise with extra=")
        columns = columns_of(named, kinds)
        instants = [self._now_ms] if at is None else many_ms_of("at", at)
        self._refuse_too_many(len(instants), len(columns))
        table = Table({"id": pl.String, "now": pl.Int64}, columns)
        for part in self._everybody(_distinct(named), instants):
            table.add(part)
        answers = table.frame().sort("id", "now")
        frame = pl.DataFrame([answers["id"], answers["now"].cast(MOMENT).alias("at"), *table.columns(answers)])
        card = self._card("traits", columns) | table.card(answers)
        return Answers(frame, card | {"at": [text_of(now) for now in instants]})

    def asof(
        self,
        labels: Any,
        traits: Sequence[str] | str = (),
        *,
        extra: Mapping[str, str] | None = None,
        known: Known = "event_time",
        strict: bool = False,
        id: str = "id",
        ts: str = "ts",
        unknown: Literal["tell", "refuse"] = "tell",
        kinds: Mapping[str, str] | None = None,
    ) -> Answers:
        """Definitions of each label's person at the label's own instant: a training set that knows nothing of later.

        `labels` have a column of ids and one of instants (aware, or UTC ms). The result has their rows and columns, in
        order, and a column for each definition. A row is what the engine answers at its instant, or with `strict` a
        millisecond earlier, for labels that are events themselves. `known` says which rows count by then: those whose
        own time has come (`event_time`), or those that had been received (`received`), imported ones by their own time.
        So do links, whose own time is that of the oldest event that says them, and with `received` of the oldest that
        was imported: an id stands for the person that it was then. Deletes hold at every instant, and definitions are
        those of today.

        A column has the type of its definition. A definition that may give values of several kinds, as `profile.plan`,
        has a struct of number, string, boolean and list. `kinds` chooses one of them by the column's name: number,
        string, boolean, numbers, strings or booleans; a value of another kind is null then, and the card counts it.

        An id that the lake does not know has the answers of somebody without events. `UnknownIds` warns of it, or with
        `unknown="refuse"` LakeError is raised. Raises ValueError for naive times and other wrong arguments.
        """
        if known not in KNOWN:
            raise ValueError(f"known {known!r}: choose {' or '.join(KNOWN)}")
        if unknown not in ("tell", "refuse"):
            raise ValueError(f"unknown {unknown!r}: choose tell or refuse")
        named = self._definitions.named(traits, extra)
        given = frame_of(labels)
        taken = [name for name in named if name in given.columns]
        if taken:
            raise ValueError(f"labels have a column {taken[0]!r} already: rename it, or name the trait with extra=")
        columns = columns_of(named, kinds)
        asked = questions_of(given, id, ts, strict=strict)
        with reading(self.uri):
            spans = person_spans(self._reading.acts(known), pl.col("known_at"))
            rows = persons_at(asked, spans)
            questions = rows.select("person", "now").unique().with_row_index("row")
            table = Table({"row": questions.schema["row"]}, columns)
            ids = self._answer(table, _distinct(named), questions, spans, known)
        answers = table.frame()
        numbers = rows.select("person", "now").join(questions, on=["person", "now"], how="left", maintain_order="left")
        ordered = numbers.select("row").join(answers, on="row", how="left", maintain_order="left")
        is_unknown = ~asked["id"].is_in(pl.concat([ids, spans["id"], spans["person"]]).implode())
        unknown_ids = given[id].filter(is_unknown).cast(pl.String).unique(maintain_order=True).to_list()
        self._tell(unknown_ids, len(is_unknown), refuse=unknown == "refuse")
        card = self._card("asof", columns) | table.card(ordered)
        card |= {"known": known, "strict": strict, "unknown": len(unknown_ids)}
        card |= {"after_now": int((asked["now"] > self._now_ms).sum())}
        if len(asked):
            instants = asked["now"].sort()
            card |= {"from": text_of(instants[0] + strict), "to": text_of(instants[-1] + strict)}
        return Answers(given.with_columns(table.columns(ordered)), card, unknown_ids)

    def segment(self, rule: str) -> Segment:
        """A saved segment by its key, or any rule: who is in it, since when, and with which others."""
        return Segment(self, rule, self._definitions.bound(rule, is_rule=True))

    def sql(self, definition: str, dialect: str = "duckdb", *, at: Instant | None = None, table: str = "events") -> str:
        """One SELECT that answers a saved key or an expression from the lake's table of events (`docs/sql.md`).

        Without an instant it reads the clock of the engine that runs it.
        """
        return self._sql(self._definitions.bound(definition), dialect, at, table)

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _sql(self, bound: Bound, dialect: str, at: Instant | None, table: str) -> str:
        return to_sql(bound, dialect, None if at is None else ms_of("at", at), self._zone, table)

    def _everybody(self, bounds: Sequence[Bound], instants: Sequence[int]) -> Iterator[pl.DataFrame]:
        """`answer_frame` of every person of today at each instant, some people at a time."""
        with reading(self.uri):
            for rows in self._reading.parts(bounds, self._reading.persons):
                yield from answers_over_time(rows, bounds, instants, self._zone)

    def _answer(
        self, table: Table, bounds: Sequence[Bound], questions: pl.DataFrame, spans: pl.DataFrame, known: Known
    ) -> pl.Series:
        """Adds the answers to questions (row, person, now); gives the ids with rows of the people who are asked for."""
        ids = [pl.Series("id", [], dtype=pl.String)]
        if questions.is_empty():
            return ids[0]
        names = groups(spans)
        asked = with_person(questions.lazy().rename({"person": "id"}), names).collect()
        if self._reading.is_large:
            sizes = self._reading.sizes(pl.concat([names["id"], names["person"]]).unique())
            asked, names = cut(asked, names, spans, sizes, self._reading.rows_at_once)
        earliest_ms, latest_ms = questions["now"].min(), questions["now"].max()
        answered = [questions.clear()["row"]]
        for rows in apart(self._reading.parts(bounds, names, asked["person"].unique())):
            own = asked.join(rows.select("person").unique(), on="person", how="semi")
            # A purged delete has the hash of an id, so its person is unknown.
            is_asked = pl.col("person").is_in(own["person"].unique().implode()) | pl.col("id").str.starts_with(GONE)
            of_people = rows.filter(is_asked).drop("person")
            events = known_events(of_people, bounds, earliest_ms, latest_ms, known, self._zone)  # type: ignore[arg-type]
            answered.append(own["row"])
            ids.append(events["id"].unique())
            own = own.select("row", pl.col("id").alias("person"), "now")
            for answers in answers_as_of(events, own, spans, bounds, self._zone):
                table.add(answers)
        # Nobody of these has a row.
        nobody = known_events(self._reading.events().clear().collect(), bounds, 0, 0, known, self._zone)
        rest = asked.join(pl.concat(answered).to_frame(), on="row", how="anti")
        rest = rest.select("row", pl.col("id").alias("person"), "now")
        for answers in answers_as_of(nobody, rest, spans, bounds, self._zone):
            table.add(answers)
        return pl.concat(ids)

    def _refuse_too_many(self, instants: int, columns: int) -> None:
        """Raises ValueError where an answer of `traits` would have too many values to be held in memory."""
        in_row = columns + 2
        with reading(self.uri):
            if self._reading.size * instants * in_row <= VALUES_MAX:  # people are no more than rows
                return
            people = self._reading.people
        values = people * instants * in_row
        if values > VALUES_MAX:
            raise ValueError(
                f"{people:,} people at {instants:,} instants, {in_row} columns each, are {values:,} values, and an "
                f"answer has at most {VALUES_MAX:,}: ask for fewer instants or traits at a time, ask by asof for the "
                "people whom you need, or count members by segment(…).trend()"
            )

    def _tell(self, ids: Sequence[str], labels: int, *, refuse: bool) -> None:
        if not ids:
            return
        first = [id if len(id) <= NAME_LENGTH_MAX else f"{id[:NAME_LENGTH_MAX]}…" for id in ids[:NAMED_MAX]]
        named = ", ".join(first) + (" …" if len(ids) > NAMED_MAX else "")
        text = f"{len(ids)} ids of the {labels} labels are unknown to the lake (no row, or deleted): {named}"
        if refuse:
            raise LakeError(f"{text}. Leave them out, or take them for people without events with unknown='tell'")
        warnings.warn(f"{text}. They have the answers of people without events", UnknownIds, stacklevel=3)

    def _card(self, question: str, columns: Sequence[Column]) -> dict[str, Any]:
        definitions = {column.name: card_of(column.bound) for column in columns}
        return {"question": question, **self._source(), "definitions": definitions}

    def _source(self) -> dict[str, Any]:
        until = self.received_until
        return {
            "lake": self.uri,
            "version": self.version,
            "received_until": None if until is None else text_of(ms_of("received_until", until)),
            "time_zone": self.time_zone,
            "now": text_of(self._now_ms),
        }


def _distinct(named: Mapping[str, Bound]) -> list[Bound]:
    """Each definition once, also where several columns have it."""
    return list(dict.fromkeys(named.values()))


def _zone_of(uri: str, name: str) -> Zone:
    """The calendar that the lake's settings name. Raises LakeError where nothing is known of it."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise LakeError(
            f"{uri}/system.json says time_zone {name[:100]!r}, of which this machine knows nothing: write a zone such "
            "as Europe/Oslo there; if it is one, pip install tzdata"
        ) from None
    return Zone(name)
