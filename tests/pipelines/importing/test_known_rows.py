"""Yesterday's export is in today's: rows that the lake has from another import are withheld, and counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.import_file import import_file
from pipelines.importing.report import Imported
from pipelines.importing.terms import Reading
from tests.pipelines.importing.test_import_file import Cut, CutLake

NOW = 1_800_000_000_000
DAY_MS = 86_400_000
ROWS: list[dict[str, Any]] = [
    {
        "who": f"u{number % 3}",
        "what": "order",
        "when": 1_700_000_000_000 + number // 2 * 1_000,
        "paid": 20 + number // 2,
    }
    for number in range(30)
]


def imported(lake: Lake, path: Path, day: int, **more: Any) -> Imported:
    """Imports a file with the columns who, what and when on some day."""
    return import_file(
        lake, path, user_column="who", event_column="what", time_column="when", now_ms=NOW + day * DAY_MS, **more
    )


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Writes rows in the format that the name says; returns where."""
    frame = pl.DataFrame(rows)
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[path.suffix](path)
    return path


def rows_of(lake: Lake) -> int:
    """How many rows the lake has."""
    return lake.events().collect().height


@pytest.mark.parametrize("id_column", [None, "order"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_that_grew_adds_its_new_rows(tmp_path: Path, name: str, id_column: str | None) -> None:
    """Days later, in another order, with the columns in another order and in chunks of another size: what was there is
    withheld, and the rest goes in. A dry run says so before."""
    rows = [row | {"order": f"o{number}"} if id_column else row for number, row in enumerate(ROWS)]
    lake = Lake(str(tmp_path / "lake"))
    assert imported(lake, written(tmp_path / name, rows[:20]), 0, id_column=id_column) == Imported(20, 0, 0)

    grown = [{column: row[column] for column in reversed(row)} for row in reversed(rows)]
    path = written(tmp_path / f"later-{name}", grown)
    dry = imported(lake, path, 3, id_column=id_column, is_dry=True)
    assert (dry, dry.preview and dict(dry.preview.events)) == (Imported(10, 0, 20), {"order": 10})
    assert imported(lake, path, 3, id_column=id_column, rows_at_once=7) == Imported(10, 0, 20)
    assert rows_of(lake) == 30
    assert imported(lake, path, 4, id_column=id_column, rows_at_once=7) == Imported(0, 0, 30)
    assert rows_of(lake) == 30


def test_another_reading_and_a_shift_bring_no_row_again(tmp_path: Path) -> None:
    """A row is known by what its file says of it, not by how that was read."""
    path = written(tmp_path / "a.csv", ROWS)
    lake = Lake(str(tmp_path / "lake"))
    assert imported(lake, path, 0) == Imported(30, 0, 0)

    readings = (Reading(text=frozenset({"paid"})), Reading(time_unit="ms"), Reading(encoding="cp1252"))
    for reading in (*readings, Reading(has_quotes=False, delimiter=",")):
        assert imported(lake, path, 2, reading=reading) == Imported(0, 0, 30)
    assert imported(lake, path, 2, shift_to_now=True) == Imported(0, 0, 30)


def test_equal_rows_of_another_source_are_others(tmp_path: Path) -> None:
    """Two shops may sell alike at one time. The same file of the same source adds nothing."""
    path = written(tmp_path / "a.csv", ROWS)
    lake = Lake(str(tmp_path / "lake"))
    for source in ("", "north", "south"):
        assert imported(lake, path, 0, source=source) == Imported(30, 0, 0)
    for source in ("", "north", "south"):
        assert imported(lake, path, 2, source=source, rows_at_once=9) == Imported(0, 0, 30)


def test_a_file_of_two_events_a_row_and_of_attributes_is_imported_for_each(tmp_path: Path) -> None:
    """Its rows are the same ones, and what they say is not. Each import again adds nothing."""
    path = tmp_path / "a.csv"
    path.write_text("who,when,what,then,plan,city\n" + "ada,2024-11-01,signup,order,pro,Lyon\n" * 2)
    lake = Lake(str(tmp_path / "lake"))
    commands: tuple[dict[str, Any], ...] = (
        {"event_column": "", "attribute_columns": ("plan",)},
        {"event_column": "", "attribute_columns": ("plan", "city")},
        {"event_column": "what"},
        {"event_column": "then"},
    )
    for day, result in ((0, Imported(2, 0, 0)), (2, Imported(0, 0, 2))):
        for command in commands:
            more = command | {"now_ms": NOW + day * DAY_MS, "rows_at_once": 1 + day}
            assert import_file(lake, path, user_column="who", time_column="when", **more) == result
    events = lake.events().collect()
    assert sorted(events["name"].drop_nulls()) == ["order", "order", "signup", "signup"]
    assert events["kind"].to_list().count("identify") == 4 and events["event_id"].n_unique() == 8


def test_one_id_of_two_users_is_two_events(tmp_path: Path) -> None:
    """An id names an event of its user, and what another import has of somebody else is not withheld."""
    lake = Lake(str(tmp_path / "lake"))
    row = ROWS[0] | {"key": "k"}
    imported(lake, written(tmp_path / "a.csv", [row]), 0, id_column="key")

    both = [row | {"who": "u9"}, row]
    assert imported(lake, written(tmp_path / "b.csv", both), 2, id_column="key") == Imported(1, 0, 1)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_file_that_grew_while_its_import_was_cut_off_adds_the_rest(tmp_path: Path, at: int) -> None:
    """What the first run brought is known; all other rows go in, once each."""
    root = str(tmp_path / "lake")
    with pytest.raises(Cut):
        imported(CutLake(root, "events", at), written(tmp_path / "a.csv", ROWS[:20]), 0, rows_at_once=7)
    assert rows_of(Lake(root)) == (at - 1) * 7

    path = written(tmp_path / "b.csv", ROWS)
    assert imported(Lake(root), path, 1, rows_at_once=7) == Imported(30 - (at - 1) * 7, 0, (at - 1) * 7)
    assert Lake(root).events().collect()["event_id"].n_unique() == rows_of(Lake(root)) == 30


def test_what_a_known_row_says_of_ids_makes_no_link_again(tmp_path: Path) -> None:
    """Somebody may have unlinked them since: only a new row makes links."""
    linked: list[str] = []

    def sent(name: str, *devices: str) -> Imported:
        bodies = [
            {"type": "identify", "userId": "ada", "anonymousId": device, "timestamp": "2024-11-01T08:00:00Z"}
            for device in devices
        ]
        path = tmp_path / name
        path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
        return import_file(
            lake, path, reading=Reading(as_sent=True), now_ms=NOW,
            link=lambda events: linked.extend(str(one.event.anonymous_id) for one in events),
        )  # fmt: skip

    lake = Lake(str(tmp_path / "lake"))
    assert sent("a.jsonl", "phone") == Imported(1, 0, 0)
    assert sent("b.jsonl", "laptop", "phone") == Imported(1, 0, 1)
    assert linked == ["phone", "laptop"]


def test_a_row_that_a_delete_covers_is_not_known(tmp_path: Path) -> None:
    """It counts nowhere, so a row of the same event id that happened after the delete is not withheld for it."""
    lake = Lake(str(tmp_path / "lake"))
    row = ROWS[0] | {"key": "k"}
    imported(lake, written(tmp_path / "a.csv", [row, ROWS[1] | {"key": "k"}]), 0, id_column="key")
    ingest_date = datetime.fromtimestamp(NOW / 1000, UTC).date()
    tombstone = {"kind": "delete", "id": "user:u0", "event_id": "d", "seq": 1, "received_at": row["when"] + 1}
    lake.append(EVENTS, pa.Table.from_pylist([tombstone | {"ingest_date": ingest_date}], schema=EVENTS.columns))

    later = [row | {"when": row["when"] + 2}, ROWS[1] | {"key": "k"}]
    assert imported(lake, written(tmp_path / "b.csv", later), 2, id_column="key") == Imported(1, 0, 1)


def test_a_row_of_an_earlier_file_that_a_delete_covers_is_not_known(tmp_path: Path) -> None:
    """The files of one command are no other than those of two."""
    lake = Lake(str(tmp_path / "lake"))
    row = ROWS[0] | {"key": "k"}
    ingest_date = datetime.fromtimestamp(NOW / 1000, UTC).date()
    tombstone = {"kind": "delete", "id": "user:u0", "event_id": "d", "seq": 1, "received_at": row["when"] + 1}
    lake.append(EVENTS, pa.Table.from_pylist([tombstone | {"ingest_date": ingest_date}], schema=EVENTS.columns))
    first = written(tmp_path / "a.csv", [row, ROWS[1] | {"key": "k"}])
    second = written(tmp_path / "b.csv", [row | {"when": row["when"] + 2}, ROWS[1] | {"key": "k"}])
    names: dict[str, Any] = {"user_column": "who", "event_column": "what", "time_column": "when", "id_column": "key"}
    assert import_file(lake, [first, second], **names, now_ms=NOW) == Imported(3, 0, 1)


def test_a_dry_run_warns_of_rows_at_times_that_are_known(tmp_path: Path) -> None:
    """A row with user, event and time of one that is there, and with other values, would count beside it. A row that is
    there already is none of these, nor is one of another time, another user or another name; a copy of a logged event
    neither. An import writes what its dry run says, and says nothing of it."""
    lake = Lake(str(tmp_path / "lake"))
    imported(lake, written(tmp_path / "a.csv", ROWS[:10]), 0)
    logged = {
        "ingest_date": datetime.fromtimestamp(NOW / 1000, UTC).date(), "shard": 0, "seq": 1, "event_id": "l",
        "kind": "track", "id_kind": "user", "id": "user:u5", "name": "order", "ts": 1_700_000_000_000,
        "received_at": NOW,
    }  # fmt: skip
    lake.append(EVENTS, pa.Table.from_pylist([logged], schema=EVENTS.columns))

    row = ROWS[0] | {"key": ""}
    others = [
        row | {"paid": 99},
        row,
        row | {"when": row["when"] + 1},
        row | {"who": "u8"},
        row | {"what": "refund"},
        row | {"who": "u5", "key": "l"},
        row | {"who": "u5", "key": "m"},
    ]
    path = written(tmp_path / "b.csv", others)
    dry = imported(lake, path, 1, id_column="key", is_dry=True)
    assert dry == Imported(6, 0, 1) and dry.preview is not None
    assert dry.preview.at_known_times == 2
    assert [(one.id, one.event, one.ts_ms) for one in dry.preview.at_known_times_samples] == [
        ("user:u0", "order", row["when"]),
        ("user:u5", "order", row["when"]),
    ]
    done = imported(lake, path, 1, id_column="key")
    assert done == dry and done.preview is None
