"""A training set: each label is answered from what was known at its own instant, as the oracle's loops answer it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import tinycdp
from tinycdp._lake.client import LakeClient

from expressions.definitions import Key
from expressions.rules.windows import DAY_MS, HOUR_MS
from lake.lake import Lake
from tests.executions import bound
from tests.history import Event
from tests.oracle import judge
from tests.oracle_copies import once
from tests.sdk.lake.rows import define, values_of, write

START = 1_767_225_600_000  # 2026-01-01
DAYS = 60
EXPRESSIONS = {
    "n_7d": "events.x.count_7d",
    "sum": "events.x.v.sum_30d",
    "last": "events.x.v.last",
    "days": "unique_days_14d",
    "quiet": "last_seen_hours_ago",
    "plan": "profile.plan",
    "slot": 'bucket("s")',
    "good": 'events.x.where(v > 1).count_30d >= 2 && profile.plan != "free"',
}
USERS = [f"user:u{number}" for number in range(8)]
WEIGHTS = {"x": 50, "names": 8, "identify": 8, "repeat": 6, "import": 6, "link": 6, "unlink": 3, "delete": 0.5}
DEVICES = [f"anon:d{number}" for number in range(10)]


def random_history(chance: random.Random) -> list[tuple[str, Event]]:
    """Events late, repeated and imported; links, unlinks and deletes; with their ids, in the order of arrival."""
    history: list[tuple[str, Event]] = []
    owned: dict[str, str] = {}
    instants = sorted(START + chance.randrange(DAYS * DAY_MS) for _ in range(900))
    sent: list[tuple[str, Event]] = []
    for number, now in enumerate(instants):
        id = chance.choice(USERS + DEVICES)
        match chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]:
            case "x":
                late = chance.choice([0, 0, 0, 1, HOUR_MS, 3 * DAY_MS, 30 * DAY_MS])
                event = Event("track", "x", now - late, {"v": chance.choice([0.1, 1, 2, "a"])}, f"e{number}", now)
                sent.append((id, event))
                history.append(sent[-1])
            case "names":
                device, late = chance.choice(DEVICES), chance.choice([0, 0, HOUR_MS, 10 * DAY_MS])
                event = Event("track", "x", now - late, {}, f"e{number}", now, chance.random() < 0.2, device[5:])
                user = chance.choice(USERS)
                history.append((user, event))
                if device not in owned:
                    owned[device] = user
                    history.append((device, Event("link", user, now, {}, f"e{number}:link", now)))
            case "identify":
                plan = chance.choice(["free", "pro", None])
                history.append((id, Event("identify", None, now, {"plan": plan}, f"i{number}", now)))
            case "repeat" if sent:
                of, before = chance.choice(sent[-30:])
                history.append((of, Event("track", "x", now, before.fields, before.id, now)))
            case "import":
                of, before = chance.choice(sent) if sent and chance.random() < 0.3 else (id, None)
                event_id = before.id if before is not None else f"f{number}"
                history.append((of, Event("track", "x", now - 20 * DAY_MS, {"v": 5}, event_id, now, imported=True)))
            case "link" if id not in owned:
                # A user belongs to one with a lesser number, so that there are no rings. A claim is a little older.
                owners = USERS if id in DEVICES else USERS[: USERS.index(id)]
                if owners:
                    owned[id] = chance.choice(owners)
                    history.append((id, Event("link", owned[id], now - chance.choice([0, 50]), {}, f"l{number}", now)))
            case "unlink" if id in owned:
                del owned[id]
                history.append((id, Event("unlink", None, now, {}, f"n{number}", now)))
            case "delete":
                owned = {one: owner for one, owner in owned.items() if id not in (one, owner)}
                history.append((id, Event("delete", None, now, {}, f"g{number}", now)))
    return history


class Truth:
    """Whose an id was, and what is known of a person, by loops over the history. Its place in it is a row's seq."""

    def __init__(self, history: list[tuple[str, Event]], known: str) -> None:
        self.known, self.history = known, history
        deletes = {id: (seq, event.came_ms) for seq, (id, event) in enumerate(history) if event.kind == "delete"}
        self.rows: list[tuple[str, Event]] = []
        for seq, (id, event) in enumerate(history):
            deleted_seq, deleted_ms = deletes.get(id, (-1, -1))
            is_covered = event.ts_ms <= deleted_ms if event.imported else seq <= deleted_seq
            is_orphan = event.kind == "link" and event.ts_ms <= deletes.get(event.name or "", (-1, -1))[1]
            if not is_covered and not is_orphan:
                self.rows.append((id, event))
        self.counting = {
            id: once([event for of, event in self.rows if of == id and event.kind in ("track", "identify")])
            for id in {of for of, _ in self.rows}
        }
        self.acts: dict[str, list[tuple[Event, int]]] = {}
        for id, event in self.rows:
            if event.kind in ("link", "unlink"):
                self.acts.setdefault(id, []).append((event, self.act_ms(id, event)))

    def saying(self, id: str, link: Event) -> list[Event]:
        """The events that say a link: they came since its id was given up before, and are of after it was unlinked."""
        said: list[Event] = []
        is_made, unlinked_ms = False, 0
        for of, event in self.history:
            is_made = is_made or event is link
            if of == id and event.kind in ("unlink", "delete") and not is_made:
                said.clear()
                unlinked_ms = event.ts_ms if event.kind == "unlink" else 0
            if of == link.name and f"anon:{event.names}" == id and any(one is event for one in self.counting[of]):
                said.append(event)
        return [event for event in said if event.ts_ms > unlinked_ms]

    def act_ms(self, id: str, event: Event) -> int:
        if event.kind == "unlink":
            return self.known_ms(event)
        said = self.saying(id, event)
        if self.known == "event_time":
            return min((one.ts_ms for one in said), default=event.ts_ms)
        return min([event.came_ms, *(one.ts_ms for one in said if one.imported)])

    def known_ms(self, event: Event) -> int:
        return event.ts_ms if self.known == "event_time" or event.imported else event.came_ms

    def person(self, id: str, now: int) -> str:
        owner = None
        for event, known_ms in self.acts.get(id, ()):
            if known_ms <= now:
                owner = None if event.kind == "unlink" else owner or event.name
        return id if owner is None else self.person(owner, now)

    def events(self, person: str, now: int) -> list[Event]:
        members = [id for id in self.counting if self.person(id, now) == person]
        return [event for id in members for event in self.counting[id] if self.known_ms(event) <= now]


def open_lake(folder: Path, history: list[tuple[str, Event]], rows_at_once: int = 10**9) -> LakeClient:
    """A lake with a history."""
    lake = Lake(str(folder / "lake"))
    write(lake, history)
    define(lake, "trait", {"n_7d": EXPRESSIONS["n_7d"]})
    return LakeClient(str(folder / "lake"), rows_at_once=rows_at_once)


@pytest.fixture(scope="module")
def history() -> list[tuple[str, Event]]:
    """One history for all that only ask about it."""
    return random_history(random.Random(7))


@pytest.fixture(scope="module")
def cdp(history: list[tuple[str, Event]], tmp_path_factory: pytest.TempPathFactory) -> LakeClient:
    """The client of a lake with it."""
    return open_lake(tmp_path_factory.mktemp("lake"), history)


@pytest.fixture(params=["event_time", "received"])
def known(request: pytest.FixtureRequest) -> Any:
    """By which time a row is known."""
    return request.param


def chosen_labels(history: list[tuple[str, Event]], count: int) -> pl.DataFrame:
    """Ids and instants by chance: many at or beside an event's own, which is where windows and knowledge change."""
    chance = random.Random(count)
    instants = [event.ts_ms + chance.choice([0, -1, 1, 7 * DAY_MS, 7 * DAY_MS - 1, 50]) for _, event in history] + [
        event.came_ms for _, event in history
    ]
    rows = [(chance.choice(USERS + DEVICES), chance.choice(instants)) for _ in range(count)]
    return pl.DataFrame(rows, schema={"id": pl.String, "ts": pl.Int64}, orient="row")


@pytest.mark.deep(kept=1)
@pytest.mark.timeout(240)
def test_a_thousand_labels_are_answered_as_the_oracle_answers_them(
    cdp: LakeClient, history: list[tuple[str, Event]], known: Any
) -> None:
    """At 1,000 random (id, ts), with links made, taken back and deleted, each value is the oracle's, to the bit."""
    labels = chosen_labels(history, 1_000)

    answers = cdp.asof(labels, extra=EXPRESSIONS, known=known)

    truth = Truth(history, known)
    bounds = bound(*(("trait", name, text) for name, text in EXPRESSIONS.items()))
    found = {name: values_of(answers[name]) for name in EXPRESSIONS}
    for number, (id, ts) in enumerate(labels.iter_rows()):
        person = truth.person(id, ts)
        events = truth.events(person, ts)
        for name in EXPRESSIONS:
            key: Key = ("trait", name)
            wanted, _ = judge(bounds[key].expr, events, ts, user=person)
            assert repr(found[name][number]) == repr(wanted), (id, ts, name)


def test_people_in_parts_are_answered_as_all_at_once(
    cdp: LakeClient, history: list[tuple[str, Event]], known: Any, tmp_path: Path
) -> None:
    """With a few rows in memory at a time nothing changes: whoever was ever one person is in one part."""
    labels = chosen_labels(history, 300)
    in_parts = open_lake(tmp_path, history, rows_at_once=40)

    whole, parts = (one.asof(labels, extra=EXPRESSIONS, known=known).frame for one in (cdp, in_parts))

    assert parts.equals(whole)


@pytest.mark.deep
def test_few_pairs_of_events_and_instants_at_a_time_change_nothing(
    cdp: LakeClient, history: list[tuple[str, Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many labels a person has, only some of them are evaluated at once."""
    labels = chosen_labels(history, 200)
    whole = cdp.asof(labels, extra=EXPRESSIONS)

    monkeypatch.setattr("expressions.batch.as_of.PAIRS_AT_ONCE", 50)

    assert cdp.asof(labels, extra=EXPRESSIONS).frame.equals(whole.frame)


def test_strict_is_a_millisecond_before(cdp: LakeClient, history: list[tuple[str, Event]]) -> None:
    """A label that is an event itself is not in its own features."""
    labels = pl.DataFrame(
        [(id, event.ts_ms) for id, event in history if event.kind == "track"],
        schema={"id": pl.String, "ts": pl.Int64},
        orient="row",
    )

    strict = cdp.asof(labels, extra=EXPRESSIONS, strict=True)
    before = cdp.asof(labels.with_columns(pl.col("ts") - 1), extra=EXPRESSIONS)

    assert strict.frame.drop("ts").equals(before.frame.drop("ts"))
    assert not strict["quiet"].equals(cdp.asof(labels, extra=EXPRESSIONS)["quiet"])
    assert strict.card["strict"] is True


def test_a_row_a_label_in_order_and_duplicates_stay(cdp: LakeClient) -> None:
    """Labels keep their columns, order and number (Feast broke on duplicates)."""
    moment = datetime(2026, 2, 1, 12, tzinfo=UTC)
    labels = pl.DataFrame(
        {
            "ts": [moment, moment - timedelta(days=20), moment, moment],
            "id": ["u3", "anon:d1", "u3", "u1"],
            "churned": [True, False, True, None],
        }
    )

    answers = cdp.asof(labels, ["n_7d"])

    assert answers.frame.drop("n_7d").equals(labels)
    assert answers["n_7d"][0] == answers["n_7d"][2]


def test_labels_come_from_any_table(cdp: LakeClient) -> None:
    """Polars, pandas, Arrow, DuckDB or a dict: the same labels have the same answers."""
    frame = pl.DataFrame({"id": ["u1", "u2"], "ts": [datetime(2026, 2, 1, tzinfo=UTC)] * 2})
    with duckdb.connect() as connection:
        connection.register("labels", frame.to_arrow())
        tables = [frame, frame.lazy(), frame.to_pandas(), frame.to_arrow(), connection.table("labels"), frame.to_dict()]
        found = [cdp.asof(table, ["n_7d"])["n_7d"].to_list() for table in tables]

    assert found == [found[0]] * len(tables)


def test_times_of_an_offset_alone_are_instants(cdp: LakeClient) -> None:
    """pandas and Arrow read `+05:30` as a zone of no name, which Polars does not know."""
    table = pa.table({"id": ["u1"], "ts": pa.array([MOMENT], pa.timestamp("us", "+05:30"))})

    for labels in (table, table.to_pandas(), table.to_pandas().set_index(pd.Index([7]))):
        answers = cdp.asof(labels, ["n_7d"])
        assert answers.columns == ["id", "ts", "n_7d"]
        assert answers["ts"].to_list() == [MOMENT]
        assert answers["n_7d"].equals(cdp.asof({"id": ["u1"], "ts": [MOMENT]}, ["n_7d"])["n_7d"])


def test_a_definition_may_have_several_columns(cdp: LakeClient) -> None:
    """A saved key under its own name and others: each has its values, in a training set and at one instant for all."""
    extra = {"again": "n_7d", "too": "n_7d"}

    for answers in (cdp.asof({"id": ["u1"], "ts": [MOMENT]}, "n_7d", extra=extra), cdp.traits("n_7d", extra=extra)):
        assert answers.columns[-3:] == ["n_7d", "again", "too"]
        assert answers["again"].equals(answers["n_7d"]) and answers["too"].equals(answers["n_7d"])


def test_a_whole_number_is_a_users_id(tmp_path: Path) -> None:
    """Ids of a warehouse are often numbers; the app sent them as text."""
    cdp = open_lake(tmp_path, [("user:42", Event("track", "x", START, {}, "e", START))])

    assert cdp.asof({"id": [42], "ts": [START]}, ["n_7d"])["n_7d"].to_list() == [1.0]


MOMENT = datetime(2026, 2, 1, tzinfo=UTC)
#: Seconds that were read as milliseconds.
READ_WRONG = datetime.fromtimestamp(START / 1_000_000, UTC)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"id": ["u1"], "ts": [datetime(2026, 2, 1)]}, r"ts '2026-02-01 00:00:00' is no instant: .*replace_time_zone"),
        (
            {"id": ["u1"], "ts": ["2026-02-01T00:00:00Z"]},
            r"ts '2026-02-01T00:00:00Z' is no instant: these are String: .*to_datetime",
        ),
        ({"id": ["u1"], "ts": [MOMENT.date()]}, "ts '2026-02-01' is no instant: these are Date"),
        (
            {"id": ["u1", "u2"], "ts": [START, START // 1_000]},
            r"ts '\d{10}' is no instant: .*multiply seconds by 1,000",
        ),
        ({"id": ["u1"], "ts": [START * 1_000]}, r"ts '\d{16}' is no instant: .*divide microseconds by 1,000"),
        (
            {"id": ["u1"], "ts": pl.Series([2**63 + 1])},
            "ts '9223372036854775809' is no instant: .*nanoseconds by 1,000",
        ),
        ({"id": ["u1"], "ts": [0]}, "ts '0' is no instant: as milliseconds it is before 1990"),
        ({"id": ["u1"], "ts": [20260201]}, "ts '20260201' is no instant: as milliseconds it is before 1990"),
        ({"id": ["u1"], "ts": [START / 1_000]}, r"ts '1767225600\.0' is no instant: these are Float64"),
        ({"id": ["u1"], "ts": [Decimal(START)]}, "ts '1767225600000' is no instant: these are Decimal"),
        ({"id": ["u1"], "ts": [MOMENT - MOMENT]}, "ts '0:00:00' is no instant: these are Duration"),
        ({"id": ["u1"], "ts": [READ_WRONG]}, "ts '1970-01-21 .* is no instant: it is in January 1970, .*wrong unit"),
        ({"id": ["u1", "u2"], "ts": [MOMENT, None]}, "ts has no time in row 1"),
        ({"id": ["u1"], "ts": [2**60]}, "as milliseconds it is after the year 9999"),
        ({"id": [None], "ts": [MOMENT]}, "id has no id in row 0"),
        ({"id": ["u1"], "ts": [None]}, "ts has no time in row 0"),
        ({"id": ["u1", " "], "ts": [MOMENT, MOMENT]}, "id has no id in row 1"),
        ({"id": [1.5], "ts": [MOMENT]}, "id holds Float64"),
        ({"user": ["u1"], "ts": [MOMENT]}, r"no column 'id': name it with id=…; they have user, ts"),
        ({"id": ["u1"], "ts": [MOMENT], "n_7d": [1]}, "labels have a column 'n_7d' already"),
        (7, r"labels of type int are no table \(.+\): give a frame"),
        (
            pd.DataFrame([[1, 2]], columns=["id", "id"]),
            r"labels of type DataFrame are no table \(.*unique.*\): give a frame",
        ),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(cdp: LakeClient, labels: Any, text: str) -> None:
    """A naive time, a missing id and the like are named with the remedy, never guessed."""
    with pytest.raises(ValueError, match=text):
        cdp.asof(labels, ["n_7d"])


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_an_aware_time_is_the_same_instant_in_every_unit(cdp: LakeClient, unit: Any, zone: str) -> None:
    """Of pandas, Arrow and Polars, in whatever zone it is shown; and years before 1990 may be named so."""
    ms = pl.Series("ts", [START + 5 * DAY_MS, START - 50 * 365 * DAY_MS]).cast(pl.Datetime("ms", "UTC"))
    labels = pl.DataFrame({"id": ["u1", "u1"], "ts": ms.dt.cast_time_unit(unit).dt.convert_time_zone(zone)})

    for table in (labels, labels.to_pandas(), labels.to_arrow()):
        assert cdp.asof(table, ["n_7d"]).card["from"] == "1976-01-14T00:00:00.000Z"
        assert cdp.asof(table, ["n_7d"])["n_7d"].equals(cdp.asof(labels.with_columns(ms), ["n_7d"])["n_7d"])


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ({"traits": ["n_8d"]}, "did you mean n_7d"),
        ({"traits": []}, "no trait is named"),
        ({"traits": ["n_7d"], "extra": {"n_7d": "true"}}, "'n_7d' is among the traits too"),
        ({"extra": {"a": "events.x.count >"}}, r"\('a', line 1, column"),
        ({"traits": ["n_7d", "events.x.count >"]}, r"\(line 1, column"),
        ({"traits": ["n_7d"], "known": "today"}, "known 'today': choose event_time or received"),
        ({"traits": ["n_7d"], "unknown": "drop"}, "unknown 'drop': choose tell or refuse"),
        ({"traits": [None]}, "None is no text"),
        ({"traits": None}, "traits None: give a key, an expression, or a list of them"),
        ({"traits": ["n_7d"], "extra": ["n_7d"]}, r"extra \['n_7d'\]: give names and expressions, as"),
        ({"extra": {5: "n_7d"}}, "extra 5: give each expression a name that is text"),
        ({"traits": ["n_7d"], "kinds": "number"}, "kinds 'number': give names of columns and kinds, as"),
    ],
)
def test_questions_that_cannot_be_meant_are_refused(cdp: LakeClient, named: Any, text: str) -> None:
    """An unknown trait is told with the nearest names, an expression with the place of its error."""
    with pytest.raises(ValueError, match=text):
        cdp.asof({"id": ["u1"], "ts": [MOMENT]}, **named)


def test_unknown_ids_are_told_by_name(cdp: LakeClient) -> None:
    """They have the answers of somebody without events, or are refused; known ones are not named."""
    labels = {"id": ["u1", "nobody", "anon:d1", "someone", "nobody"], "ts": [MOMENT] * 5}

    with pytest.warns(tinycdp.UnknownIds, match="2 ids of the 5 labels are unknown .*: nobody, someone"):
        answers = cdp.asof(labels, ["n_7d"], extra={"plan": "profile.plan"})
    with pytest.raises(tinycdp.LakeError, match="nobody, someone"):
        cdp.asof(labels, ["n_7d"], unknown="refuse")

    with pytest.warns(tinycdp.UnknownIds, match=r"20 ids of .*: n{100}…, n{100}…, n{100}…, n{100}…, n{100}… …\. They"):
        cdp.asof({"id": [f"{'n' * 200}{number}" for number in range(20)], "ts": [MOMENT] * 20}, ["n_7d"])

    assert answers.unknown == ["nobody", "someone"] and answers.card["unknown"] == 2
    assert answers["n_7d"].to_list()[1] == 0.0 and answers["plan"].to_list()[1] is None


def test_who_was_deleted_is_unknown(tmp_path: Path) -> None:
    """A delete holds at every instant, also before it came."""
    seen = Event("track", "x", START, {}, "e", START)
    cdp = open_lake(tmp_path, [("user:a", seen), ("user:a", Event("delete", None, START + 5, {}, "g", START + 5))])

    with pytest.warns(tinycdp.UnknownIds, match="a. They have"):
        assert cdp.asof({"id": ["a"], "ts": [START + 1]}, ["n_7d"])["n_7d"].to_list() == [0.0]


@pytest.mark.parametrize(
    "none",
    [
        pl.DataFrame(schema={"id": pl.String, "ts": pl.Datetime("ms", "UTC")}),
        {"id": [], "ts": []},
        pd.DataFrame({"id": [], "ts": []}, dtype=float),
    ],
)
def test_no_labels_give_no_rows(cdp: LakeClient, none: Any) -> None:
    """The columns and their types are there all the same, also where empty lists have none."""
    answers = cdp.asof(none, ["n_7d"], extra={"all": "events.x.v.values"})

    assert answers.frame.schema["n_7d"] == pl.Float64
    assert (len(answers), answers.columns) == (0, ["id", "ts", "n_7d", "all"])
