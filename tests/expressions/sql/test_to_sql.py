"""Definitions as SQL, run in DuckDB on a table shaped like the lake's `events`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
import sqlglot
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from expressions import ops
from expressions.batch import frames
from expressions.batch.counting import counted, deduplicate
from expressions.batch.frames import answer_frame
from expressions.definitions import Bound, Definition, DefinitionKind
from expressions.functions import FUNCTIONS
from expressions.monoids import MONOIDS
from expressions.rules import values
from expressions.rules.deletes import tombstone_id
from expressions.rules.identity import people
from expressions.rules.properties import attribute_fields, event_fields, typed
from expressions.rules.windows import DAY_MS, HOUR_MS, UTC_ZONE, Zone
from expressions.sql.cells import column
from expressions.sql.engines import ENGINES
from expressions.sql.folds import fold
from expressions.sql.functions import FUNCTIONS as SQL_FUNCTIONS
from expressions.sql.steps import Names, Steps
from expressions.sql.to_sql import node_cell, to_sql
from expressions.text.bind import bind
from lake.schemas import EVENTS
from tests.chance import part_of_examples
from tests.executions import duckdb_connection
from tests.facts import CDNOW, COUNTED, FACTS

NOW = 1_700_000_000_000

TYPED = pl.Struct({"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "json": pl.String})
COLUMNS: dict[str, Any] = {
    "seq": pl.Int64,
    "event_id": pl.String,
    "kind": pl.String,
    "id": pl.String,
    "name": pl.String,
    "ts": pl.Int64,
    "received_at": pl.Int64,
    "props": pl.List(pl.Struct({"key": pl.String, "value": TYPED})),
}

Row = dict[str, Any]


def event(ts: int = NOW, properties: Mapping[str, Any] | None = None, **columns: Any) -> Row:
    """A row of `events`: a purchase by user:a, received when it happened, unless said otherwise."""
    fields = (attribute_fields if columns.get("kind") == "identify" else event_fields)(properties or {})
    props = [{"key": name, "value": typed(value)._asdict()} for name, value in fields.items()]
    row = {"kind": "track", "id": "user:a", "name": "purchase", "ts": ts, "received_at": ts, "props": props}
    return row | columns


def numbered(rows: Iterable[Row]) -> list[Row]:
    """The rows with a seq and an event id of their own where they have none."""
    return [{"seq": place, "event_id": f"e{place}"} | row for place, row in enumerate(rows, start=1)]


def framed(rows: Iterable[Row]) -> pl.DataFrame:
    """The rows as a frame."""
    return pl.DataFrame(numbered(rows), schema=COLUMNS).with_columns(pl.col("props").cast(pl.Map(pl.String, TYPED)))


def connected(rows: Iterable[Row], table: str = "events") -> duckdb.DuckDBPyConnection:
    """A connection that has the rows as its table."""
    connection = duckdb_connection()
    connection.register(table, framed(rows).to_arrow())
    return connection


@cache
def bound(expression: str, kind: DefinitionKind = "trait") -> Bound:
    """One definition, bound."""
    return bind([Definition(kind, "it", expression)])[(kind, "it")]


@cache
def duckdb_sql(expression: str, now_ms: int | None, zone: Zone) -> str:
    """The text of a trait."""
    return to_sql(bound(expression), "duckdb", now_ms, zone)


def values_of(expression: str, rows: Iterable[Row], now_ms: int | None = NOW, zone: Zone = UTC_ZONE) -> dict[str, Any]:
    """id -> value of a trait, as JSON values."""
    text = duckdb_sql(expression, now_ms, zone)
    by_id = {}
    for id, number, string, boolean, json_text, _ in connected(rows).execute(text).fetchall():
        parts = [number, string, boolean, None if json_text is None else json.loads(json_text)]
        present = [part for part in parts if part is not None]
        assert len(present) <= 1, "a value has one type"
        by_id[id] = present[0] if present else None
    return by_id


def value_of(expression: str, *rows: Row, now_ms: int = NOW, zone: Zone = UTC_ZONE) -> Any:
    """The value of a trait of user:a."""
    return values_of(expression, rows or [event()], now_ms, zone)["user:a"]


def values_by_batch(expression: str, rows: Iterable[Row], now_ms: int = NOW) -> dict[str, Any]:
    """The same by the batch."""
    answers = answer_frame(people(counted(framed(rows).lazy())), [bound(expression)], now_ms)
    by_id = frames.values_of(answers, ("trait", "it"))
    return {id: list(value) if isinstance(value, tuple) else value for id, value in by_id.items()}


# ── real data ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def cdnow() -> duckdb.DuckDBPyConnection:
    """The purchases of CDNOW as imported events: without seq, each with an id of its own."""
    connection = duckdb.connect()
    connection.execute(
        """
        CREATE TABLE events AS
        SELECT NULL::BIGINT AS seq, 'row' || row_number() OVER () AS event_id, 'track' AS kind,
          'user:' || user_id AS id, event AS name, epoch_ms("timestamp") AS ts, epoch_ms("timestamp") AS received_at,
          map_from_entries([
            ('amount', {number: amount, string: NULL::VARCHAR, "boolean": NULL::BOOLEAN, "json": NULL::VARCHAR}),
            ('quantity', {number: quantity::DOUBLE, string: NULL, "boolean": NULL, "json": NULL})]) AS props
        FROM read_parquet($path)
        """,
        {"path": str(CDNOW / "purchases.parquet")},
    )
    return connection


def as_of() -> int:
    """The instant of the facts."""
    return int(datetime.fromisoformat(FACTS["as_of"]).timestamp() * 1000)


def test_every_count_among_the_facts_has_its_definition() -> None:
    """No fact about users is left out below."""
    counts = {name for name, value in FACTS.items() if name.startswith("users_") and isinstance(value, int)}

    assert counts == set(COUNTED)


@pytest.mark.parametrize("fact", COUNTED)
def test_the_sql_counts_what_is_known_of_real_purchases(fact: str, cdnow: duckdb.DuckDBPyConnection) -> None:
    """As many customers are in each segment as were counted without us."""
    text = to_sql(bound(COUNTED[fact], "segment"), "duckdb", as_of())

    users = cdnow.execute(f'SELECT count(*) FROM ({text}) WHERE "boolean"').fetchone()

    assert users == (FACTS[fact],)


def test_every_customer_has_a_row_and_the_totals_are_exact(cdnow: duckdb.DuckDBPyConnection) -> None:
    """The sums of all customers add up to the cent; the greatest three are who they are."""
    sums = to_sql(bound("events.purchase.amount.sum"), "duckdb", as_of())
    counts = to_sql(bound("events.purchase.count"), "duckdb", as_of())

    totals = cdnow.execute(f"SELECT count(*), sum(round(number * 100)::BIGINT) FROM ({sums})").fetchone()
    top = cdnow.execute(
        f"SELECT c.id, c.number, round(s.number * 100) FROM ({counts}) c JOIN ({sums}) s USING (id)"
        " ORDER BY c.number DESC LIMIT 3"
    ).fetchall()

    assert totals == (FACTS["users"], FACTS["total_amount_cents"])
    assert top == [(f"user:{user}", count, cents) for user, count, cents in FACTS["top_users_by_count"]]


# ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_trait_has_typed_columns_and_a_segment_a_boolean() -> None:
    """The columns are the same whatever the value turns out to be."""
    table = connected([event()])

    trait = table.execute(to_sql(bound("events.purchase.count"), "duckdb", NOW))
    assert [(name, str(kind)) for name, kind, *_ in trait.description] == [
        ("id", "VARCHAR"),
        ("number", "DOUBLE"),
        ("string", "VARCHAR"),
        ("boolean", "BOOLEAN"),
        ("json", "VARCHAR"),
        ("exact", "BOOLEAN"),
    ]
    segment = table.execute(to_sql(bound("events.purchase.count > 0", "segment"), "duckdb", NOW))
    assert [name for name, *_ in segment.description] == ["id", "boolean", "exact"]


def test_every_id_with_any_row_is_there() -> None:
    """An id that only ever identified itself has the values of an event never done (S2)."""
    rows = [event(), event(id="anon:x", kind="identify", name=None)]

    assert values_of("events.purchase.count", rows) == {"user:a": 1, "anon:x": 0}
    assert values_of("events.purchase.amount.avg", rows) == {"user:a": None, "anon:x": None}


def test_a_definition_that_reads_nothing_still_answers_for_everyone() -> None:
    """A constant is a value like any other."""
    assert values_of("[1, 'a', true, null]", [event()]) == {"user:a": [1, "a", True, None]}


def test_without_an_instant_the_engine_says_what_time_it_is() -> None:
    """An event of 1970 is further back than any window, one of a later lifetime is not yet counted."""
    rows = [event(0), event(0, id="user:b"), event(2**52, id="user:b")]

    assert values_of("count", rows, now_ms=None) == {"user:a": 1, "user:b": 1}
    assert values_of("count_3650d", rows, now_ms=None) == {"user:a": 0, "user:b": 0}
    assert values_of("unique_days_3650d", rows, now_ms=None, zone=Zone("Asia/Tokyo")) == {"user:a": 0, "user:b": 0}


def test_beyond_ten_thousand_values_the_least_are_kept_and_it_says_so() -> None:
    """S12: the list is cut, its length with it, and the answer is not exact; one value less is."""
    rows = [event(properties={"n": n}) for n in range(10_001)]
    for kept, exact in ((10_001, False), (10_000, True)):
        table = connected(rows[:kept])
        text = to_sql(bound("events.purchase.n.unique"), "duckdb", NOW)
        assert table.execute(text).fetchone() == ("user:a", 10_000.0, None, None, None, exact)
        text = to_sql(bound("events.purchase.n.median"), "duckdb", NOW)
        assert table.execute(text).fetchone() == ("user:a", 4_999.5, None, None, None, exact)


# ── each event once ──────────────────────────────────────────────────────────────────────────────────────────────


def copies(*hours: float, event_id: str = "same", **columns: Any) -> list[Row]:
    """One event received again and again, so many hours after the first time."""
    start = NOW - 200 * HOUR_MS
    return [event(start, event_id=event_id, received_at=start + round(hour * HOUR_MS), **columns) for hour in hours]


@pytest.mark.parametrize(
    ("hours", "counted"),
    [
        ((0.0,), 1),
        ((0.0, 0.0, 1.0, 23.99), 1),
        ((0.0, 24.0), 2),
        ((0.0, 20.0, 30.0, 55.0), 3),
        ((0.0, 20.0, 30.0, 53.0), 2),
        ((0.0, 12.0, 24.0, 36.0, 48.0, 60.0), 3),
        ((0.0, 23.0, 46.0, 69.0, 92.0), 3),
    ],
)
def test_a_repeat_is_measured_against_the_copy_that_counts(hours: tuple[float, ...], counted: int) -> None:
    """S11: within 24 h of it a duplicate, later a new event against which the next are measured."""
    assert value_of("events.purchase.count", *copies(*hours)) == counted


def test_of_repeats_the_lowest_seq_counts() -> None:
    """The answer is the same in whatever order the rows of the table are."""
    rows = [event(event_id="same", seq=seq, properties={"n": seq}) for seq in (3, 1, 2)]

    assert value_of("events.purchase.n.values", *rows) == [1]


def test_an_imported_row_never_counts_behind_another_one() -> None:
    """Not even when it was received days later; before a logged one the 24 hours hold, from the first import on."""
    logged, *imported = copies(100, 0, 75, 77, 100, 110, 200)
    imported = [{**row, "seq": None} for row in imported]

    assert value_of("events.purchase.count", logged, *imported[3:]) == 1
    assert value_of("events.purchase.count", logged, *imported) == 2
    assert value_of("events.purchase.count", logged, *imported[1:]) == 2
    assert value_of("events.purchase.count", logged, *imported[2:]) == 1
    assert value_of("events.purchase.count", *imported) == 1


imported_at_once = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.sampled_from([NOW, NOW - 1]),
            "name": st.sampled_from(["purchase", "Purchase"]),
            "properties": st.dictionaries(
                st.sampled_from(["a", "b.c", "b"]), st.sampled_from([1, -1.5, "1", "Z", "é", "😀", True, [1, "a"], [2]])
            ),
        }
    ),
    min_size=1,
    max_size=8,
)


@part_of_examples(5)
@given(imported_at_once, st.randoms(use_true_random=False))
def test_of_rows_imported_at_once_the_same_counts_in_any_order(given_rows: list[Any], chance: random.Random) -> None:
    """SQL and the batch count the same row, wherever it stands, and whatever order its fields are in."""
    first, second = (
        [
            event(
                row["ts"],
                dict(chance.sample(list(row["properties"].items()), len(row["properties"]))),
                name=row["name"],
                seq=None,
                event_id="order-1",
                received_at=NOW,
            )
            for row in rows
        ]
        for rows in (given_rows, chance.sample(given_rows, len(given_rows)))
    )
    (row,) = deduplicate(framed(first).lazy()).collect().iter_rows(named=True)
    (other,) = deduplicate(framed(second).lazy()).collect().iter_rows(named=True)
    assert (row["ts"], row["name"], dict(row["props"])) == (other["ts"], other["name"], dict(other["props"]))
    for text in (f'events["{row["name"]}"].count', *(f'events["{row["name"]}"].{name}.first' for name in ("a", "b"))):
        assert value_of(text, *second) == values_by_batch(text, first)["user:a"]


def test_a_link_is_no_copy_of_an_event() -> None:
    """Though its event id is some event's too: the event counts, and so does the link."""
    rows = [
        event(id="anon:d", seq=1, event_id="x:link", kind="link", name="user:a"),
        event(id="anon:d", seq=2, event_id="x:link"),
        event(id="user:a", seq=3, event_id="y"),
        event(id="anon:e", seq=4, event_id="z:link"),
        event(id="anon:e", seq=5, event_id="z:link", kind="link", name="user:a"),
    ]

    assert values_of("events.purchase.count", rows) == {"user:a": 3}
    assert values_by_batch("events.purchase.count", rows) == {"user:a": 3}


def test_a_link_of_before_its_owners_delete_is_not_in_force() -> None:
    """Though it was made after the delete, in the log of another id; with or without a purge since. A later one is."""
    for owner in ("user:a", tombstone_id("user:a")):
        rows = [
            event(id="anon:d", seq=1, event_id="w"),
            event(NOW - 5, id="anon:d", seq=2, event_id="x:link", kind="link", name="user:a", received_at=NOW - 3),
            event(NOW - 5, id=owner, seq=3, event_id="y", kind="delete", received_at=NOW - 5),
            event(id="anon:e", seq=4, event_id="v"),
            event(NOW - 4, id="anon:e", seq=5, event_id="z:link", kind="link", name="user:a", received_at=NOW - 3),
        ]

        assert values_of("events.purchase.count", rows) == {"anon:d": 1, "user:a": 1}
        assert values_by_batch("events.purchase.count", rows) == {"anon:d": 1, "user:a": 1}


def test_an_event_id_is_unique_per_id_only() -> None:
    """Two users may send the same one."""
    rows = [*copies(0, 1), *copies(0, 1, id="user:b")]

    assert values_of("events.purchase.count", rows) == {"user:a": 1, "user:b": 1}


def counting(received: list[int]) -> int:
    """How many of the copies, in order of seq, count: the rule as a loop."""
    anchor, count = received[0], 1
    for at in received[1:]:
        if at - anchor >= DAY_MS:
            anchor, count = at, count + 1
    return count


@part_of_examples(5)
@given(st.lists(st.lists(st.integers(0, 120), min_size=1, max_size=9), min_size=1, max_size=12))
def test_chains_of_repeats_are_followed_to_their_end(chains: list[list[int]]) -> None:
    """For any times of receipt, as many count as the loop says."""
    rows = []
    for place, hours in enumerate(chains):
        rows += copies(*sorted(hours), event_id=f"chain {place}", id=f"user:{place}")

    counts = values_of("events.purchase.count", rows)

    assert counts == {
        f"user:{place}": counting([h * HOUR_MS for h in sorted(hours)]) for place, hours in enumerate(chains)
    }


def test_nothing_before_a_delete_is_read() -> None:
    """Logged rows up to its seq are gone, imports up to its receipt; an id with nothing after it has no row."""
    rows = [
        event(NOW - 5, seq=1),
        event(NOW - 4, seq=None, event_id="import"),
        event(NOW - 3, seq=2, kind="delete", name=None),
        event(NOW - 2, seq=3),
        event(NOW - 5, id="user:b", seq=4),
        event(NOW - 3, id="user:b", seq=5, kind="delete", name=None),
    ]

    assert values_of("count", rows) == {"user:a": 1}


# ── windows and dates ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_window_is_open_below_and_closed_at_now() -> None:
    """Exactly an hour old is out, at now is in, after now is not yet."""
    rows = [event(NOW - HOUR_MS), event(NOW - HOUR_MS + 1), event(NOW), event(NOW + 1)]

    assert value_of("events.purchase.count_1h", *rows) == 2
    assert value_of("events.purchase.count", *rows) == 3


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"])
def test_dates_are_those_of_the_workspace(name: str) -> None:
    """Around every change of the clocks of some years, SQL and `windows.Zone` agree on how many dates there were."""
    zone = Zone(name)
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) for year in (2010, 2013))
    times = [ts + shift for ts in range(first, last, DAY_MS) for shift in (-1, 0, 5 * HOUR_MS, 11 * HOUR_MS - 1)]
    rows = [event(ts, id=f"user:{ts // (9 * HOUR_MS)}", received_at=ts) for ts in times]
    expected: dict[str, set[int]] = {}
    for row in rows:
        expected.setdefault(row["id"], set()).add(zone.day(row["ts"]))

    assert values_of("unique_days", rows, zone=zone) == {id: len(days) for id, days in expected.items()}


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin"])
def test_a_window_of_dates_counts_today(name: str) -> None:
    """The last two dates begin at yesterday's first instant."""
    zone = Zone(name)
    start = zone.day_start_ms(zone.day(NOW) - 1)

    assert value_of("unique_days_2d", event(start - 1), event(start), event(NOW), zone=zone) == 2
    assert value_of("unique_days_2d", event(start - 1), zone=zone) == 0


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("events.purchase.x.first", "a"),
        ("events.purchase.x.last", [1, "b"]),
        ("events.purchase.x.values", [True, 2.5, "a"]),
        ("events.purchase.x.unique", 3),
        ("events.purchase.x.most_frequent", 2.5),
        ("events.purchase.x.count", 5),
        ("events.purchase.x.min", 2.5),
        ("events.purchase.x.max", "a"),
        ("[1, 'b'] == events.purchase.x.last", True),
        ("'b' in events.purchase.x.last", True),
        ("'1' in events.purchase.x.last", False),
        ("length(events.purchase.x.last)", 2),
        ("events.purchase.x.first in ['a', null, 1]", True),
        ("events.never.x.first in ['a', null, 1]", True),
        ("events.never.x.first == null && events.never.x.sum == 0 && events.never.x.values == []", True),
        ("events.purchase.where(x == true).count", 1),
        ("events.purchase.where(x).count", 5),
        ("!(events.never.x.first > 1) && !(events.never.x.first <= 1)", True),
    ],
)
def test_properties_of_any_type(text: str, value: Any) -> None:
    """A property has a type in every event, and each aggregate takes those it knows."""
    sent = ["a", 2.5, True, 2.5, [1, "b"], None]
    rows = [event(NOW - 10 + place, {"x": item}) for place, item in enumerate(sent)]

    assert value_of(text, *rows) == value


def test_text_with_every_awkward_character_survives_a_list() -> None:
    """Quotes, controls and characters beyond 16 bits are the same in a list and beside it."""
    awkward = ['a"b', "back\\slash", "\n\t\x01", "🤦", "", "null"]
    rows = [event(NOW - place, {"x": text, "all": awkward}) for place, text in enumerate(awkward)]

    assert value_of("events.purchase.x.values", *rows) == sorted(awkward)
    assert value_of("length(events.purchase.all.last)", *rows) == len(awkward)
    assert value_of("events.purchase.where(x in all).count", *rows) == len(awkward)


def test_attributes_are_the_newest_and_null_removes() -> None:
    """S8: by ts; at equal ts a value beats null, else the greater; what is inside goes with the whole value."""
    rows = [
        event(NOW - 3, {"plan": "pro", "gone": 1, "home": {"city": "Bonn", "zip": 1}}, kind="identify"),
        event(NOW - 2, {"gone": None, "home": {"city": "Köln"}}, kind="identify"),
        event(NOW - 2, {"plan": "team", "both": None}, kind="identify"),
        event(NOW - 2, {"plan": 7, "both": 1}, kind="identify"),
        event(NOW + 1, {"plan": "later"}, kind="identify"),
    ]

    keys = ("plan", "gone", "home", "home.city", "home.zip", "both")
    assert [value_of(f"profile.{key}", *rows) for key in keys] == ["team", None, None, "Köln", None, 1]


def test_names_of_any_kind_are_read() -> None:
    """Events and properties with spaces, quotes, dots and the names of columns."""
    rows = [event(NOW, {"unit price": 2, "it's": 3, "a": {"b": 4}, "id": 5, "ts": 6, "number": 7}, name="Order 'Done'")]
    source = "events[\"Order 'Done'\"]"

    read = ['["unit price"]', '["it\'s"]', ".a.b", ".id", ".ts", ".number"]
    assert [value_of(f"{source}{name}.sum", *rows) for name in read] == [2, 3, 4, 5, 6, 7]


# ── numbers and dates, bit for bit ───────────────────────────────────────────────────────────────────────────────

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(-1000, 1000, places=7).map(float),
    st.integers(-(10**13), 10**13).map(lambda millionths: millionths / 1e6),
    st.integers(-(10**18), 10**18).map(lambda millionths: millionths / 1e6),
    st.decimals(-(10**12), 10**12, places=2).map(float),
)


def per_number(expression: str, numbers: Sequence[float | str], zone: Zone = UTC_ZONE) -> list[Any]:
    """The value of an expression for each of these, as the sole property of an id of its own."""
    rows = [event(NOW, {"x": number}, id=str(place)) for place, number in enumerate(numbers)]
    by_place = values_of(expression, rows, zone=zone)
    return [by_place[str(place)] for place in range(len(numbers))]


@part_of_examples(10)
@given(st.lists(NUMBERS, min_size=20, max_size=100))
def test_rounding_has_the_bits_of_python(numbers: list[float]) -> None:
    """S6, S12: sums in millionths, `round` and `%`, down to ties and up to the greatest floats."""
    sums = [(values.millionths(number + 0.0) or 0) / 10**6 for number in numbers]
    assert per_number("events.purchase.x.sum", numbers) == sums
    for decimals in (0, 2, 6):
        rounded = [values.rounded(number + 0.0, decimals) for number in numbers]
        assert per_number(f"round(events.purchase.x.last, {decimals})", numbers) == rounded
    for divisor in (2.5, -0.1, 1e-300):
        left = [values.modulo(number + 0.0, divisor) for number in numbers]
        assert per_number(f"events.purchase.x.last % {divisor:.400f}".rstrip("0"), numbers) == left


@part_of_examples(10)
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_sums_and_percentiles_of_many(numbers: list[float], random: Any) -> None:
    """Sums do not depend on order; a percentile has the bits of `values.percentile`."""
    numbers = [number + 0.0 for number in numbers]
    rows = [event(NOW, {"x": number}) for number in numbers]
    random.shuffle(rows)
    total = sum(values.millionths(number) or 0 for number in numbers)

    assert value_of("events.purchase.x.sum", *rows) == total / 10**6
    assert value_of("events.purchase.x.avg", *rows) == total / (len(numbers) * 10**6)
    for name, percent in (("median", 50.0), ("p90", 90.0), ("p95", 95.0), ("p99", 99.0)):
        counts = [(number, numbers.count(number)) for number in set(numbers)]
        assert value_of(f"events.purchase.x.{name}", *rows) == values.percentile(counts, percent)


TOTALS = st.tuples(st.integers(-(2**105), 2**105) | st.integers(-(2**58), 2**58), st.integers(1, 10**6))


@part_of_examples(5)
@given(st.lists(TOTALS, min_size=1))
def test_a_total_is_divided_once(totals: list[tuple[int, int]]) -> None:
    """S6: in integers, where no float holds it."""
    steps = Steps(Names(["total", "shared", "answers"]))
    quotient = ENGINES["duckdb"].quotient(column("total"), column("shared"), steps.let)
    rows = ", ".join(f"({total}::INT128, {count * 10**6}::INT128)" for total, count in totals)
    given_rows = sqlglot.parse_one(f"SELECT * FROM (VALUES {rows}) AS given(total, shared)", dialect="duckdb")
    query = exp.select(exp.alias_(quotient, "quotient")).from_("answers")
    for name, cte in steps.over(given_rows, "answers").items():
        query = query.with_(name, as_=cte)

    quotients = [row[0] for row in duckdb.sql(query.sql(dialect="duckdb")).fetchall()]
    assert quotients == [total / (count * 10**6) for total, count in totals]


DATES = st.one_of(
    st.datetimes(min_value=datetime(1, 1, 1)).map(datetime.isoformat),
    st.builds("{:04}-{:02}-{:02}".format, st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32)),
    st.from_regex(values.ISO_TIME, fullmatch=True),
    st.sampled_from(
        ["", "2024", "2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "2024-01-01\n", "２024-01-01"]
    ),
)


@part_of_examples(10)
@given(st.lists(DATES, min_size=10, max_size=50))
def test_days_since_reads_what_python_reads(texts: list[str]) -> None:
    """Every form of date-time, every date that does not exist, every offset."""
    for zone in (UTC_ZONE, Zone("Asia/Kathmandu")):
        since = per_number("days_since(events.purchase.x.last)", texts, zone)
        assert since == [values.days_since(text, NOW, zone) for text in texts]


# ── text ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ZONES = (UTC_ZONE, Zone("Europe/Berlin"))
MANY = {
    "count": "events.purchase.count_30d >= 3 && last_seen_minutes_ago < 1440",
    "where": 'events["Order Completed"].where(currency == "EUR" && tags != null).total.sum >= 500',
    "lists": '"x" in events.purchase.tags.last || events.x.tags.first == ["a", 1] || contains(profile.tags, "b")',
    "values": "events.purchase.x.values",
    "tally": "coalesce(events.purchase.x.most_frequent, events.purchase.x.p95_90d, events.purchase.x.median)",
    "profile": 'profile.plan in ["premium", "enterprise"] && profile.address.city != null',
    "dates": "unique_days_14d + days_since(profile.signed_up)",
    "birthday": "days_since(profile.birthday) >= 6570",
    "functions": 'if(starts_with(lower(profile.name), "a"), round(events.purchase.x.avg, 2) % 3, length(profile.name))',
    "share": r"""bucket("it's") < 50000 && matches(profile.email, "(?i)^[^@\\s]+@example\\.com$")""",
}


def test_nothing_of_the_language_is_without_sql() -> None:
    """Every node, monoid and function has its place, and one that had none would be named."""
    unknown = type("Novel", (ops.Expr,), {})()

    assert {node for node in vars(ops).values() if isinstance(node, type) and issubclass(node, ops.Expr)} <= {
        *node_cell.registry,
        ops.Expr,
    }
    assert set(MONOIDS) <= set(fold.registry)
    assert list(SQL_FUNCTIONS) == list(FUNCTIONS)
    with pytest.raises(TypeError, match="Novel"):
        to_sql(replace(bound("1"), expr=unknown), "duckdb", NOW)


@pytest.mark.deep(kept=10)
@pytest.mark.parametrize("dialect", ENGINES)
@pytest.mark.parametrize("name", MANY)
def test_the_text_parses_again_in_its_dialect(name: str, dialect: str, caplog: pytest.LogCaptureFixture) -> None:
    """And says the same again, so nothing in it is foreign to the dialect, and sqlglot warns of nothing."""
    for text in {to_sql(bound(MANY[name]), dialect, None, zone, table="lake.tiny.events") for zone in ZONES}:
        tree = sqlglot.parse_one(text, dialect=dialect)

        assert sqlglot.parse_one(tree.sql(dialect=dialect, pretty=True), dialect=dialect) == tree
        assert "tiny.events" in text
    assert not caplog.records


@pytest.mark.parametrize("dialect", ENGINES)
def test_the_text_asks_for_nothing_that_engines_do_differently(dialect: str) -> None:
    """No INTERVAL, no FILTER, nothing approximate, no position that NULL takes by chance."""
    for expression in MANY.values():
        text = to_sql(bound(expression), dialect, NOW)

        tree = sqlglot.parse_one(text, dialect=dialect)

        assert not list(tree.find_all(sqlglot.exp.Interval, sqlglot.exp.Filter, sqlglot.exp.ApproxDistinct))


def test_text_grows_with_the_definition_and_not_with_its_nesting() -> None:
    """What is nested twenty levels deep, each of which reads its inside several times, is still a text to look at."""
    nested, choices = "events.purchase.x.sum", "profile.a"
    for _ in range(20):
        nested = f"round({nested} % 7.5, 2)"
        choices = f"if(profile.c, coalesce({choices}, profile.b), {choices.count('if')})"
    rows = [event(NOW, {"x": 10.126}), event(NOW, {"b": "found", "c": True}, kind="identify")]

    assert len(to_sql(bound(nested), "duckdb", NOW)) < 100_000
    assert len(to_sql(bound(choices), "duckdb", NOW)) < 100_000
    assert value_of(nested, *rows) == 2.63
    assert value_of(choices, *rows) == "found"


def test_a_table_may_be_anywhere() -> None:
    """Its name is written as given, and must not be that of a part of the query."""
    table = connected([event()], table="history")
    text = to_sql(bound("events.purchase.count"), "duckdb", NOW, table="history")

    assert table.execute(text).fetchone() == ("user:a", 1.0, None, None, None, True)
    with pytest.raises(ValueError, match="once"):
        to_sql(bound("count"), "duckdb", NOW, table="once")
    for name in ("", "a.b.c.d.e f"):
        with pytest.raises(ValueError, match="names no table"):
            to_sql(bound("count"), "duckdb", NOW, table=name)
    assert '"events; DROP TABLE x"' in to_sql(bound("count"), "duckdb", NOW, table="events; DROP TABLE x")


def test_the_lake_is_read_as_it_is(tmp_path: Path) -> None:
    """The columns of the lake's own table, written by delta-rs, are what the text expects."""
    rows = numbered([event(NOW - 1, {"x": 2.5, "tags": ["a"]}), event(NOW, {"plan": None}, kind="identify")])
    for row in rows:
        row["props"] = [(field["key"], field["value"]) for field in row["props"]]
    write_deltalake(tmp_path, pa.Table.from_pylist(rows, schema=EVENTS.columns))
    table = duckdb.connect()
    table.register("events", DeltaTable(tmp_path).to_pyarrow_dataset())

    text = to_sql(bound("if(profile.plan == null, events.purchase.tags.last, events.purchase.x.sum)"), "duckdb", NOW)

    assert table.execute(text).fetchall() == [("user:a", None, None, None, '["a"]', True)]


def test_an_engine_there_is_no_sql_for_is_named() -> None:
    """With those there are."""
    with pytest.raises(ValueError, match="'oracle'; there is SQL for duckdb, bigquery, snowflake"):
        to_sql(bound("count"), "oracle", NOW)
