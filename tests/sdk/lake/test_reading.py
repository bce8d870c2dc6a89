"""How a lake is opened and read: it changes nothing, answers of one version, and says what it was made of."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import polars as pl
import pytest
import tinycdp
from deltalake import write_deltalake

from expressions.batch.counting import counted
from expressions.rules.deletes import ACT_KINDS
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from lake.schemas import EVENTS
from tests.history import Event
from tests.sdk.lake.rows import define, write
from tests.small_s3 import SmallS3

ROOT = Path(__file__).parents[3]
START = 1_767_225_600_000
#: A user who owns nothing.
SOMEBODY = 65_534


def visit(number: int, at_ms: int, came_ms: int | None = None, amount: Any = 1) -> Event:
    """A visit with an id of its own."""
    return Event("track", "visit", at_ms, {"amount": amount, "note": "n"}, f"v{number}", came_ms or at_ms)


HISTORY = [
    ("anon:d", visit(1, START)),
    ("anon:d", Event("link", "user:ann", START + 5, {}, "l1", START + 5)),
    ("user:ann", visit(2, START + 10, amount=2.5)),
    ("user:ann", visit(2, START + 10, START + 1_000)),
    ("user:bob", visit(3, START - 9 * DAY_MS, START + 20)),
    ("user:bob", Event("identify", None, START + 30, {"plan": "pro"}, "i1", START + 30)),
]


def new_lake(root: str) -> Lake:
    """A lake with a short history and some definitions."""
    lake = Lake(root)
    write(lake, HISTORY)
    define(lake, "trait", {"visits": "events.visit.count", "recent": "events.visit.count_7d"})
    define(lake, "segment", {"active": "recent > 0"}, version=3)
    define(lake, "trait", {"visits": "events.visit.count_365d"}, version=4)
    return lake


@pytest.fixture
def root(tmp_path: Path) -> str:
    """The folder of such a lake."""
    new_lake(str(tmp_path / "lake"))
    return str(tmp_path / "lake")


def test_events_are_those_that_count_with_their_person(root: str) -> None:
    """Each event once, by the rows that executions count, lazily; times are in UTC, and properties have their types."""
    cdp = tinycdp.lake(root)

    events = cdp.events

    assert isinstance(events, pl.LazyFrame)
    rows = (
        events.filter(pl.col("name") == "visit").sort("ts").select("person", "id", "ts", cdp.event_property("amount"))
    )
    assert rows.collect().rows() == [
        ("user:bob", "user:bob", datetime.fromtimestamp(START / 1_000 - 9 * 86_400, UTC), 1.0),
        ("user:ann", "anon:d", datetime.fromtimestamp(START / 1_000, UTC), 1.0),
        ("user:ann", "user:ann", datetime.fromtimestamp(START / 1_000 + 0.01, UTC), 2.5),
    ]
    counting = counted(Lake(root).events()).filter(~pl.col("kind").is_in(ACT_KINDS)).collect()
    assert sorted(events.collect()["event_id"]) == sorted(counting["event_id"])
    assert events.select(cdp.event_property("note", "string")).collect()["note"].drop_nulls().to_list() == ["n"] * 3


def test_a_property_has_one_of_three_kinds(root: str) -> None:
    """Another kind is named before anything is read."""
    with pytest.raises(ValueError, match="kind 'int': choose number, string or boolean"):
        tinycdp.lake(root).event_property("amount", "int")  # type: ignore[arg-type]


def test_definitions_are_the_newest(root: str) -> None:
    """A definition that was changed stands there once, one that was deleted not at all."""
    gone = {"kind": "trait", "key": "recent2", "expression": "true", "version": 6, "deleted": True}
    define(Lake(root), "trait", {"recent2": "true"}, version=5)
    Lake(root).append_definitions([{"definition": gone, "action": "delete"}])

    rows = tinycdp.lake(root).definitions.rows()

    assert rows == [
        ("segment", "active", "recent > 0", 3),
        ("trait", "recent", "events.visit.count_7d", 2),
        ("trait", "visits", "events.visit.count_365d", 4),
    ]


def test_a_trait_over_many_instants_is_one_row_a_person_and_instant(root: str) -> None:
    """Everybody of today is there at each instant, also before their first event."""
    at = [START - 8 * DAY_MS, START + 50]

    answers = tinycdp.lake(root).traits(
        ["visits", "active", "profile.plan"], at=at, extra={"twice": "visits * 2"}, kinds={"profile.plan": "string"}
    )

    assert answers.columns == ["id", "at", "visits", "active", "profile.plan", "twice"]
    assert answers.frame.drop("at").rows() == [
        ("user:ann", 0.0, False, None, 0.0),
        ("user:ann", 2.0, True, None, 4.0),
        ("user:bob", 1.0, True, None, 2.0),
        ("user:bob", 1.0, False, "pro", 2.0),
    ]
    assert answers["at"].dtype == pl.Datetime("ms", "UTC")


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 1, 1, tzinfo=UTC),
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00+01:00",
        START,
        [START],
        pl.Series([datetime(2026, 1, 1, tzinfo=UTC)]),
    ],
)
def test_an_instant_may_be_written_in_many_ways(root: str, at: Any) -> None:
    """All of them name the same instant."""
    assert tinycdp.lake(root).traits("visits", at=at).card["at"] == ["2026-01-01T00:00:00.000Z"]


@pytest.mark.parametrize(
    "at",
    [
        datetime(2026, 1, 1),
        "2026-01-01T00:00:00",
        "soon",
        datetime(2026, 1, 1).date(),
        1.5,
        [],
        pl.Series([]),
        START // 1_000,
        START * 1_000,
        [START, START // 1_000],
        datetime.fromtimestamp(START / 1_000_000, UTC),
        "1970-01-21T10:53:45Z",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
    ],
)
def test_an_instant_that_nobody_can_know_is_refused(root: str, at: Any) -> None:
    """A naive time could be of any zone, a date is no instant, and seconds are no milliseconds."""
    with pytest.raises(ValueError, match=r"^at "):
        tinycdp.lake(root).traits("visits", at=at)


ITEM = pl.Struct({"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean})
SEVERAL = pl.Struct({**ITEM.to_schema(), "list": pl.List(ITEM)})
TYPED = {
    "events.visit.amount.sum": pl.Float64,
    "lower(profile.plan)": pl.String,
    "profile.plan == null": pl.Boolean,
    "events.visit.note.values": pl.List(ITEM),
    "events.visit.amount.max": SEVERAL,
    "profile.never": SEVERAL,
    "null": pl.Float64,
}


@pytest.mark.parametrize("came", [[], HISTORY, [("user:cat", visit(8, START, amount="free"))]])
def test_a_column_has_the_type_of_its_definition(came: list[tuple[str, Event]], tmp_path: Path) -> None:
    """Whatever its values are, and also where there are none: what was trained on one day is asked on the next."""
    lake = Lake(str(tmp_path / "lake"))
    lake.open(EVENTS)
    write(lake, came)
    cdp = tinycdp.lake(tmp_path / "lake")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tinycdp.UnknownIds)
        answers = [
            cdp.traits(list(TYPED), at=START + 100),
            cdp.asof({"id": ["ann"], "ts": [START + 100]}, list(TYPED)),
            cdp.asof({"id": [], "ts": []}, list(TYPED)),
        ]

    for one in answers:
        assert {name: one.frame.schema[name] for name in TYPED} == TYPED


def test_values_of_several_kinds_are_beside_each_other(root: str) -> None:
    """In a struct of which one field is there, lists too; the whole is null where the value is."""
    write(Lake(root), [("user:cat", visit(8, START, amount="free"))])
    write(Lake(root), [("user:dan", Event("track", "other", START, {}, "o1", START))])

    frame = tinycdp.lake(root).traits(["events.visit.amount.last", "events.visit.amount.values"], at=START + 100).frame

    none = dict.fromkeys(("number", "string", "boolean"))
    assert frame["events.visit.amount.last"].to_list() == [
        none | {"number": 2.5, "list": None},
        none | {"number": 1.0, "list": None},
        none | {"string": "free", "list": None},
        None,
    ]
    assert frame["events.visit.amount.values"].to_list() == [
        [none | {"number": 1.0}, none | {"number": 2.5}],
        [none | {"number": 1.0}],
        [none | {"string": "free"}],
        [],
    ]


def test_a_kind_may_be_chosen(root: str) -> None:
    """The column is of that kind alone. Values and items of another kind are null, and counted in the card."""
    write(Lake(root), [("user:cat", visit(8, START, amount="free"))])
    named = {
        "least": "events.visit.amount.min",
        "text": "events.visit.amount.last",
        "all": "events.visit.amount.values",
        "plan": "profile.plan",
    }
    kinds = {"least": "number", "text": "string", "all": "numbers", "plan": "string"}

    answers = tinycdp.lake(root).traits(extra=named, kinds=kinds, at=START + 100)
    labels = {"id": ["cat", "cat", "ann"], "ts": [START + 100] * 3}
    of_labels = tinycdp.lake(root).asof(labels, extra=named, kinds=kinds)

    assert answers.frame.drop("id", "at").rows() == [
        (1.0, None, [1.0, 2.5], None),
        (1.0, None, [1.0], "pro"),
        (None, "free", [None], None),
    ]
    assert (answers.card["kinds"], answers.card["of_another_kind"]) == (kinds, {"least": 1, "text": 2, "all": 1})
    assert of_labels.card["of_another_kind"] == {"least": 2, "text": 1, "all": 2}


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        ({"plann": "string"}, "kinds 'plann': no trait of this question has that name; they are visits, plan"),
        ({"plan": "text"}, "kinds 'plan': choose number, string, boolean, numbers, strings, booleans; 'text' is none"),
        ({"visits": "string"}, "kinds 'visits': it is never 'string', since its values are number"),
        ({"visits": "numbers"}, "kinds 'visits': it is never 'numbers', since its values are number"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(root: str, kinds: dict[str, str], text: str) -> None:
    """A column of nothing but nulls would be no answer."""
    with pytest.raises(ValueError, match=text):
        tinycdp.lake(root).traits("visits", extra={"plan": "profile.plan"}, kinds=kinds)


def test_an_answer_that_memory_could_not_hold_is_refused(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """People times instants times columns are counted before anything is computed, and the remedy is said."""
    monkeypatch.setattr("tinycdp._lake.client.VALUES_MAX", 11)
    at = [START + day * DAY_MS for day in range(2)]
    cdp = tinycdp.lake(root)

    assert len(cdp.traits("visits", at=at[0])) == 2
    refusal = r"2 people at 2 instants, 3 columns each, are 12 values, .* at most 11: ask for fewer"
    with pytest.raises(ValueError, match=refusal):
        cdp.traits("visits", at=at)


# ── one version ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_all_answers_are_of_the_version_that_was_opened(root: str) -> None:
    """Events that come later change no answer of a client; its version opens the same again."""
    cdp = tinycdp.lake(root)
    before = cdp.traits("visits", at=START + DAY_MS).frame
    write(Lake(root), [("user:ann", visit(9, START + 100))])

    assert cdp.traits("visits", at=START + DAY_MS).frame.equals(before)
    assert tinycdp.lake(root, version=cdp.version).traits("visits", at=START + DAY_MS).frame.equals(before)
    assert not tinycdp.lake(root).traits("visits", at=START + DAY_MS).frame.equals(before)


def test_received_until_makes_a_set_again(root: str) -> None:
    """Rows that came later, late ones, repeats and links among them, are left out of a newer version."""
    labels = {"id": ["ann", "bob", "d", "anon:d"], "ts": [START + 2 * DAY_MS] * 4}
    named = {"traits": ["visits"], "extra": {"plan": "profile.plan"}}
    with pytest.warns(tinycdp.UnknownIds, match=": d"):
        before = tinycdp.lake(root).asof(labels, **named).frame
    later = START + 5_000
    write(
        Lake(root),
        [
            ("user:ann", visit(10, START - 100, later)),
            ("user:bob", Event("link", "user:ann", later, {}, "l9", later)),
            ("user:bob", Event("track", "visit", START, {}, "f1", later, imported=True)),
        ],
    )

    cdp = tinycdp.lake(root, received_until=START + 4_999)

    with pytest.warns(tinycdp.UnknownIds, match=": d"):
        assert cdp.asof(labels, **named).frame.equals(before)
    assert cdp.received_until == cdp.now == datetime.fromtimestamp(START / 1_000 + 4.999, UTC)
    assert len(cdp.events.collect()) == 4
    with pytest.warns(tinycdp.UnknownIds):
        assert not tinycdp.lake(root).asof(labels, **named).frame.equals(before)


def test_labels_after_now_are_counted(root: str) -> None:
    """What they are answered may change: rows that belong to them were left out, or are to come."""
    write(Lake(root), [("user:ann", visit(10, START + DAY_MS, START + DAY_MS))])
    labels = {"id": ["ann"] * 3, "ts": [START + 4_999, START + 5_000, START + 2 * DAY_MS]}

    whole, until = tinycdp.lake(root), tinycdp.lake(root, received_until=START + 4_999)

    assert (until.asof(labels, "visits").card["after_now"], whole.asof(labels, "visits").card["after_now"]) == (2, 0)
    assert until.asof(labels, "visits", strict=True).card["after_now"] == 1
    assert whole.asof(labels, "visits")["visits"][2] == until.asof(labels, "visits")["visits"][2] + 1


@pytest.mark.parametrize(
    ("until", "text"),
    [
        (datetime(9999, 1, 1, tzinfo=UTC), "received_until 9999-01-01T00:00:00.000Z is still to come"),
        (START // 1_000, f"received_until '{START // 1_000}' is no instant: as milliseconds it is before 1990"),
    ],
)
def test_rows_that_are_still_to_come_cannot_be_asked_for(root: str, until: Any, text: str) -> None:
    """A set up to an instant to come would be another one each day."""
    with pytest.raises(ValueError, match=text):
        tinycdp.lake(root, received_until=until)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            '{"time_zone": "Mars/Tharsis"}',
            "system.json says time_zone 'Mars/Tharsis', of which this machine",
        ),
        ('{"time_zone": "../etc"}', "system.json says time_zone '../etc'"),
        ('{"time_zone": ""}', "system.json says time_zone ''"),
        ('{"time_zone": 3}', r"system.json is damaged \(Expected `str`, got `int`"),
        ("{", "system.json is damaged"),
    ],
)
def test_settings_that_cannot_be_read_are_told(root: str, settings: str, text: str) -> None:
    """At once, with the file: not by an error of a library in the first answer."""
    Path(root, "system.json").write_text(settings)

    with pytest.raises(tinycdp.LakeError, match=text):
        tinycdp.lake(root)


def test_a_delete_holds_however_late_it_came(root: str) -> None:
    """Whoever asked to be deleted comes back by no instant before that."""
    write(Lake(root), [("user:bob", Event("delete", None, START + DAY_MS, {}, "g", START + DAY_MS))])
    cdp = tinycdp.lake(root, received_until=START + 100)

    assert "user:bob" not in cdp.events.collect()["person"].to_list()


def test_a_version_whose_files_are_gone_is_named(root: str) -> None:
    """The error says which lake, and the remedy."""
    with pytest.raises(
        tinycdp.LakeError, match=r"lake/events: .*version 99 cannot be read: .*the newest is read where"
    ):
        tinycdp.lake(root, version=99)


def test_a_client_that_was_open_for_too_long_is_told_to_open_the_lake_anew(root: str) -> None:
    """The log of its version was dropped meanwhile, as maintenance does after a day."""
    cdp = tinycdp.lake(root)
    for file in Path(root, "events", "_delta_log").iterdir():
        file.unlink()

    for ask in (lambda: cdp.traits("visits"), lambda: cdp.events, lambda: cdp.segment("active").members()):
        with pytest.raises(tinycdp.LakeError, match="open the lake anew for the newest version"):
            ask()


@pytest.mark.parametrize("version", [-1, "0", True, 1.0])
def test_what_is_no_version_is_refused(root: str, version: Any) -> None:
    """It is a whole number from 0 on."""
    with pytest.raises(ValueError, match=f"version {version!r}: give a whole number"):
        tinycdp.lake(root, version=version)


@pytest.mark.parametrize("name", ["id", "at"])
def test_a_trait_cannot_have_the_name_of_a_column_that_is_there(root: str, name: str) -> None:
    """Whose a row is and of which instant stand in every row of `traits`."""
    with pytest.raises(ValueError, match=f"'{name}' names a column of every answer"):
        tinycdp.lake(root).traits(extra={name: "visits"})


def test_a_folder_without_a_lake_is_named_and_stays_empty(tmp_path: Path) -> None:
    """Nothing is made where nothing is."""
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(tinycdp.LakeError, match=str(folder)):
            tinycdp.lake(folder)

    assert list(tmp_path.iterdir()) == []


def test_no_address_is_refused() -> None:
    """An empty variable of the environment is not the root of the machine."""
    with pytest.raises(ValueError, match="uri '' names no lake"):
        tinycdp.lake("")


def test_somebody_elses_table_is_not_taken_for_an_old_lake(tmp_path: Path) -> None:
    """Nobody is told to start a stack on it without being asked whether it is a lake: that adds columns to it."""
    write_deltalake(tmp_path / "events", pl.DataFrame({"id": ["a"], "ts": [1], "name": ["x"]}).to_arrow())

    with pytest.raises(tinycdp.LakeError, match=r"lacks .*seq, .*Name the folder of a lake; if it is one, of an older"):
        tinycdp.lake(tmp_path)


# ── read only ────────────────────────────────────────────────────────────────────────────────────────────────────────

QUESTIONS = """
def answers(uri):
    import tinycdp
    cdp = tinycdp.lake(uri)
    labels = {"id": ["ann", "anon:d"], "ts": [cdp.now] * 2}
    return [
        cdp.events.sort("event_id").select("event_id", "person").collect().rows(),
        cdp.traits(["visits", "active"], at=1767225601000).frame.rows(),
        cdp.asof(labels, ["visits"], known="received")["visits"].to_list(),
        cdp.segment("visits > 1").members().frame.rows(),
        len(cdp.segment("active").trend(days=3)),
        cdp.segment("active").overlap(["visits > 1"]).frame.rows(),
    ]
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that another user can reach: pytest's own are closed."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_files_that_may_only_be_read_are_enough(open_folder: Path) -> None:
    """A user who may write nothing there has every answer, and not a byte or a time of change differs afterwards.

    The tables that nobody made yet are not made. The questions are asked once before, to have all modules loaded.
    """
    root = str(open_folder / "lake")
    new_lake(root)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(root).rglob("*")}
    for path in [Path(root), *before]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    script = f"""{QUESTIONS}
import json, os
first = answers({root!r})
if os.geteuid() == 0:
    os.setgroups([]), os.setgid({SOMEBODY}), os.setuid({SOMEBODY})
assert not os.access({root!r}, os.W_OK)
print(json.dumps([first, answers({root!r})], default=str))
"""

    done = ended(script)

    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first == second and first[0]
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in Path(root).rglob("*")} == before
    assert not (Path(root) / "traits").exists()


def ended(script: str) -> subprocess.CompletedProcess[str]:
    """A script that ran to its end, in a process of its own."""
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk" / "python" / "src")])}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **paths}, check=False)


def test_credentials_that_may_only_read_are_enough(object_store: SmallS3) -> None:
    """An object store that refuses every change answers every question, and is asked for none."""
    root = f"s3://{object_store.bucket}/lake"
    new_lake(root)
    names: dict[str, Any] = {}
    exec(QUESTIONS, names)
    writes: list[str] = []

    def refuse(method: str, key: str) -> int | None:
        if method in ("GET", "HEAD"):
            return None
        writes.append(f"{method} {key}")
        return 403

    before = object_store.keys()
    object_store.before = refuse

    assert names["answers"](root)[0]
    assert writes == [] and object_store.keys() == before


def test_without_the_extra_the_remedy_is_said() -> None:
    """The package without Polars imports, tracks and decides; the lake says what to install."""
    script = "import sys; sys.modules['polars'] = None; import tinycdp; tinycdp.lake('lake')"

    done = ended(script)

    assert 'ImportError: tinycdp.lake needs polars, which is not installed: pip install "tinycdp[lake]"' in done.stderr


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_answers_become_what_a_notebook_has(root: str) -> None:
    """pandas, Arrow, DuckDB, or Polars: the same rows."""
    answers = tinycdp.lake(root).traits(["visits", "active"], at=START + 50)
    rows = [("user:ann", 2.0, True), ("user:bob", 1.0, False)]

    with duckdb.connect() as connection:
        relation = answers.to_duckdb(connection, "features")
        found = relation.project("id, visits, active").order("id").fetchall()
        again = connection.execute("SELECT id, visits, active FROM features ORDER BY id").fetchall()

    assert found == again == rows
    assert list(answers.to_pandas()[["id", "visits", "active"]].itertuples(index=False, name=None)) == rows
    assert answers.to_arrow().select(["id", "visits", "active"]).to_pydict()["visits"] == [2.0, 1.0]
    assert pl.DataFrame(answers).equals(answers.frame)
    assert (len(answers), "user:ann" in repr(answers), "<table" in answers._repr_html_()) == (2, True, True)


def test_a_parquet_file_has_its_card_beside_it(root: str, tmp_path: Path) -> None:
    """The card says of which lake, version, instants and definitions the rows are, those that are used included."""
    cdp = tinycdp.lake(root, received_until=START + 60_000)
    labels = pl.DataFrame({"id": ["ann"], "ts": [START + 50]})
    answers = cdp.asof(labels, ["active"], extra={"sum": "events.visit.amount.sum"}, known="received")

    answers.to_parquet(tmp_path / "set.parquet")

    card = json.loads((tmp_path / "set.parquet.card.json").read_text())
    assert card == answers.card == json.loads(pl.read_parquet_metadata(tmp_path / "set.parquet")["tinycdp.card"])
    assert pl.read_parquet(tmp_path / "set.parquet").equals(answers.frame)
    assert {name: card[name] for name in ("lake", "version", "received_until", "known", "strict", "rows")} == {
        "lake": root,
        "version": 1,
        "received_until": "2026-01-01T00:01:00.000Z",
        "known": "received",
        "strict": False,
        "rows": 1,
    }
    recent = {"kind": "trait", "key": "recent", "version": 2, "expression": "events.visit.count_7d"}
    active = {"kind": "segment", "key": "active", "version": 3, "expression": "recent > 0", "uses": [recent]}
    assert card["definitions"] == {"active": active, "sum": {"expression": "events.visit.amount.sum"}}
    assert card["from"] == card["to"] == "2026-01-01T00:00:00.050Z"


def test_no_card_stands_beside_the_rows_of_another_run(root: str, tmp_path: Path) -> None:
    """Rows that cannot be written leave the file before, with its card, and nothing else in the folder."""
    cdp = tinycdp.lake(root)
    target = tmp_path / "sets" / "set.parquet"
    target.parent.mkdir()
    cdp.traits("visits", at=START).to_parquet(target)
    before = {path.name: path.read_bytes() for path in target.parent.iterdir()}
    labels = pl.DataFrame({"id": ["ann"], "ts": [START], "note": pl.Series([object()], dtype=pl.Object)})

    with pytest.raises(pl.exceptions.PolarsError):
        cdp.asof(labels, "visits").to_parquet(target)

    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == before
    assert sorted(before) == ["set.parquet", "set.parquet.card.json"]


def test_a_card_that_cannot_be_replaced_is_inside_all_the_same(root: str, tmp_path: Path) -> None:
    """Whatever ends the process between two steps, the older card is gone before the newer rows are there."""
    cdp = tinycdp.lake(root)
    beside = tmp_path / "set.parquet.card.json"
    beside.mkdir()
    beside.joinpath("of another run").touch()

    with pytest.raises(OSError, match=r"set\.parquet\.card\.json"):
        cdp.traits("visits", at=START).to_parquet(tmp_path / "set.parquet")

    assert not (tmp_path / "set.parquet").exists()
    assert [path.name for path in tmp_path.glob(".set*")] == []


def test_values_that_are_not_exact_are_counted(root: str) -> None:
    """A list of more than 10,000 values holds the least of them; the card says of how many rows that is so."""
    write(Lake(root), [("user:cat", visit(100 + number, START, amount=number)) for number in range(10_001)])

    answers = tinycdp.lake(root).traits(
        extra={"all": "events.visit.amount.values", "n": "events.visit.count"}, at=START
    )

    assert answers.card["inexact"] == {"all": 1}
    assert len(answers.frame.filter(pl.col("id") == "user:cat")["all"][0]) == 10_000


def test_the_sql_of_a_segment_says_the_same_in_duckdb(root: str) -> None:
    """One definition: the lake in DuckDB answers as the client does."""
    cdp = tinycdp.lake(root)
    segment = cdp.segment("visits >= 2")
    with duckdb.connect() as connection:
        connection.register("events", Lake(root).open(EVENTS).to_pyarrow_dataset())
        rows = connection.execute(segment.sql(at=START + 50)).fetchall()

    assert (
        sorted(id for id, holds, _ in rows if holds) == segment.members(at=START + 50)["id"].to_list() == ["user:ann"]
    )
    assert "SELECT" in cdp.sql("visits", "snowflake", at=START)
