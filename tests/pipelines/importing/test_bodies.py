"""Rows that name devices, kinds, attributes or JSON mean what the same events of an app mean."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.import_file import import_file
from pipelines.importing.report import Imported
from pipelines.importing.terms import Columns, Reading, identity_of
from serving.store.logged_event import LogEntry

NOW = 1_800_000_000_000
AT = "2023-11-14T22:13:20Z"

#: Rows; the columns that the command names; and the events that an app would send.
CASES: dict[str, tuple[list[dict[str, str]], dict[str, Any], list[dict[str, Any]]]] = {
    "devices, alone and with their people": (
        [
            {"who": "", "device": "d1", "what": "seen", "at": AT, "key": "1", "n": "2"},
            {"who": "ann", "device": "d1", "what": "login", "at": AT, "key": "2", "n": ""},
        ],
        {"user_column": "who", "anonymous_column": "device", "event_column": "what", "id_column": "key"},
        [
            {"type": "track", "anonymousId": "d1", "event": "seen", "properties": {"n": 2}},
            {"type": "track", "userId": "ann", "anonymousId": "d1", "event": "login"},
        ],
    ),
    "a device without a column of people": (
        [{"device": "d1", "what": "seen", "at": "1960-02-29", "key": "1", "note": "x"}],
        {"user_column": "", "anonymous_column": "device", "event_column": "what", "id_column": "key"},
        [
            {
                "type": "track",
                "anonymousId": "d1",
                "event": "seen",
                "timestamp": "1960-02-29",
                "properties": {"note": "x"},
            }
        ],
    ),
    "properties in JSON, and nothing of the other columns": (
        [
            {"who": "7", "what": "order", "at": AT, "key": "1", "p": '{"a": {"b": [1, null]}, "big": 1e3}', "x": "1"},
            {"who": "7", "what": "order", "at": AT, "key": "2", "p": "", "x": "1"},
        ],
        {"user_column": "who", "event_column": "what", "id_column": "key", "properties_column": "p"},
        [
            {"type": "track", "userId": "7", "event": "order", "properties": {"a": {"b": [1, None]}, "big": 1e3}},
            {"type": "track", "userId": "7", "event": "order"},
        ],
    ),
    "a table of profiles": (
        [{"who": "ann", "at": AT, "key": "1", "plan": "pro", "age": "42", "city": "", "loaded": "x"}],
        {"user_column": "who", "event_column": "", "id_column": "key", "attribute_columns": ("plan", "age", "city")},
        [{"type": "identify", "userId": "ann", "traits": {"plan": "pro", "age": 42}}],
    ),
    "kinds": (
        [
            {"who": "ann", "old": "", "kind": "track", "what": "order", "plan": "", "at": AT, "key": "1", "n": "1"},
            {"who": "ann", "old": "", "kind": "identify", "what": "", "plan": "pro", "at": AT, "key": "2", "n": "1"},
            {"who": "ann", "old": "", "kind": "page", "what": "Home", "plan": "", "at": AT, "key": "3", "n": "1"},
            {"who": "ann", "old": "", "kind": "screen", "what": "", "plan": "", "at": AT, "key": "4", "n": "1"},
            {"who": "ann", "old": "o1", "kind": "alias", "what": "", "plan": "", "at": AT, "key": "5", "n": ""},
        ],
        {
            "user_column": "who",
            "anonymous_column": "old",
            "kind_column": "kind",
            "event_column": "what",
            "id_column": "key",
            "attribute_columns": ("plan",),
        },
        [
            {"type": "track", "userId": "ann", "event": "order", "properties": {"n": 1}},
            {"type": "identify", "userId": "ann", "traits": {"plan": "pro"}},
            {"type": "page", "userId": "ann", "name": "Home", "properties": {"n": 1}},
            {"type": "screen", "userId": "ann", "properties": {"n": 1}},
            {"type": "alias", "userId": "ann", "previousId": "o1"},
        ],
    ),
    "groups, and attributes without a column of their own": (
        [
            {"who": "ann", "kind": "group", "at": AT, "key": "1", "groupId": "g1", "size": "3"},
            {"who": "ann", "kind": "identify", "at": AT, "key": "2", "groupId": "", "size": "3"},
        ],
        {"user_column": "who", "event_column": "", "kind_column": "kind", "id_column": "key"},
        [
            {"type": "group", "userId": "ann", "groupId": "g1", "traits": {"size": 3}},
            {"type": "identify", "userId": "ann", "traits": {"size": 3}},
        ],
    ),
}


def written(path: Path, rows: list[dict[str, str]]) -> Path:
    """The rows as a file of the kind that its name says."""
    if path.suffix == ".csv":
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def imported(folder: Path, path: Path, **more: Any) -> tuple[Imported, list[dict[str, Any]], list[tuple[str, Any]]]:
    """What became of a file in a lake of its own, its rows there, and the ids that belong together."""
    lake, claims = Lake(str(folder)), list[LogEntry]()
    done = import_file(lake, path, now_ms=NOW, link=claims.extend, **more)
    rows: list[dict[str, Any]] = pl.DataFrame(pl.from_arrow(lake.open(EVENTS).to_pyarrow_table())).to_dicts()
    said = [(claim.event.id, claim.event.anonymous_id) for claim in claims]
    return done, sorted(rows, key=lambda row: row["event_id"]), said


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("case", CASES)
def test_a_row_is_the_event_that_an_app_would_send(tmp_path: Path, case: str, suffix: str) -> None:
    """A row has the event, the ids that belong together and the values that the body of the same event has."""
    rows, columns, bodies = CASES[case]
    if suffix != "csv":  # cells say by themselves what they are; texts of other files are texts
        columns = columns | {"reading": Reading(number=frozenset({"n", "age", "size"} & {*rows[0]}))}
    sent = [{"messageId": str(at), "timestamp": AT, **body} for at, body in enumerate(bodies, 1)]
    path = tmp_path / "sent.jsonl"
    path.write_text("".join(json.dumps(body) + "\n" for body in sent))
    _, expected, expected_claims = imported(tmp_path / "sent", path, reading=Reading(as_sent=True))

    done, found, claims = imported(
        tmp_path / "rows", written(tmp_path / f"a.{suffix}", rows), time_column="at", **columns
    )

    assert done == Imported(len(rows), 0, 0, read_as=done.read_as)
    assert found == expected
    assert claims == expected_claims


def test_what_a_row_cannot_mean_is_refused_by_its_line(tmp_path: Path) -> None:
    """JSON that is no object, an unknown kind, nobody, and no time are refused as they stand, and the rest goes in."""
    rows = [
        {"who": "ann", "kind": "track", "what": "order", "at": AT, "p": "{"},
        {"who": "ann", "kind": "track", "what": "order", "at": AT, "p": "[1]"},
        {"who": "ann", "kind": "bought", "what": "order", "at": AT, "p": ""},
        {"who": "", "kind": "track", "what": "order", "at": AT, "p": ""},
        {"who": "ann", "kind": "track", "what": "order", "at": "", "p": ""},
        {"who": "ann", "kind": "track", "what": "order", "at": AT, "p": '{"order": 9007199254740993}'},
    ]
    path = written(tmp_path / "a.csv", rows)
    refused: list[Any] = []
    columns = {"user_column": "who", "event_column": "what", "kind_column": "kind", "properties_column": "p"}
    done, found, _ = imported(tmp_path / "lake", path, time_column="at", on_refused=refused.extend, **columns)

    assert [(one.line, one.details["field"], one.row) for one in refused] == [
        (line, field, row)
        for line, field, row in zip(range(2, 7), ("p", "p", "type", "userId", "at"), rows, strict=False)
    ]
    assert (done.accepted, done.rejected, len(found)) == (1, 5, 1)
    assert (done.inexact["order"].line, done.inexact["order"].value) == (7, "9007199254740993")


def test_rows_without_ids_are_known_again_and_the_usual_columns_keep_their_name(tmp_path: Path) -> None:
    """The same file adds nothing. Files of usual columns keep the identity that they had, others have their own."""
    path = written(tmp_path / "a.csv", [{"device": "d1", "what": "seen", "at": AT}] * 2)
    columns = {"user_column": "", "event_column": "what", "anonymous_column": "device", "time_column": "at"}
    assert imported(tmp_path / "lake", path, **columns)[0].accepted == 2
    assert imported(tmp_path / "lake", path, **columns)[0].already == 2

    usual, further = Columns("", "what", "at"), Columns("", "what", "at", anonymous="device")
    assert repr(usual) == "Columns(user='', event='what', time='at', id=None)"
    assert identity_of(path, usual, False, 1) != identity_of(path, further, False, 1)
