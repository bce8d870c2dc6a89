"""The list of imports: what is noted of each, and what it says of one that was cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.imports import imports_body, imports_text
from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.import_file import import_file
from pipelines.importing.noted_imports import ImportCancelled, NotCancelled, Note, cancel_import, noted_imports
from pipelines.importing.report import Imported

NOW = 1_800_000_000_000


def test_an_import_is_listed_from_its_beginning_on(tmp_path: Path) -> None:
    """It is under way until its rows are in; then it says what became of them. The newest is the first."""
    lake = Lake(str(tmp_path / "lake"))
    assert noted_imports(lake, 9) == [] and imports_text([]) == "no import is noted"

    older = Note(lake, ["a.csv", "b.csv"], {"user": "who"}, "north", NOW)
    id = older.begin(["a", "b"])
    (row,) = noted_imports(lake, 9)
    assert (row["id"], row["state"], row["files"], row["mapping"], row["at"]) == (
        id,
        "begun",
        ["a.csv", "b.csv"],
        {"user": "who"},
        NOW,
    )
    assert "under way, or cut off" in imports_text([row]) and "a.csv, b.csv of north" in imports_text([row])

    newer = Note(lake, ["c.csv"], {}, "", NOW + 1)
    assert newer.begin(["c"]) != id
    older.end(Imported(3, 2, 1))
    newer.end(Imported(0, 0, 7))
    rows = noted_imports(lake, 9)
    assert [(one["files"], one["state"], one["accepted"], one["already"], one["rejected"]) for one in rows] == [
        (["c.csv"], "done", 0, 7, 0),
        (["a.csv", "b.csv"], "done", 3, 1, 2),
    ]
    assert rows[1]["id"] == id and noted_imports(lake, 1) == rows[:1]
    assert "3 imported, 1 were there, 2 rejected" in imports_text(rows)
    assert imports_body(rows)["imports"][1]["at"] == "2027-01-15T08:00:00.000Z"


def test_a_name_of_a_file_steers_no_terminal(tmp_path: Path) -> None:
    """Files come from elsewhere, and so do their names: what does not print is written as JSON has it."""
    lake = Lake(str(tmp_path / "lake"))
    note = Note(lake, ["\x1b[2J\n.csv"], {}, "\x07", NOW)
    note.begin(["a"])
    note.end(Imported(1, 0, 0))

    assert imports_text(noted_imports(lake, 9)).isprintable()


def test_an_import_that_is_cancelled_stops_between_chunks_and_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    """Whole chunks are in, and each row counts once after the same import again: that is another run of it, listed once
    with all that it brought, and each of its rows says so. Once it is done the same command is an import of its own."""
    path, root = tmp_path / "a.csv", str(tmp_path / "lake")
    path.write_text(
        "who,what,when\n" + "".join(f"u{number},seen,{1_700_000_000_000 + number}\n" for number in range(40))
    )
    done_rows: list[int] = []

    def imported(note: Note, cancelled_at: int | None) -> Imported:
        def after_chunk(done: int, _total: int | None) -> None:
            done_rows.append(done)
            if done == cancelled_at:
                (row,) = noted_imports(Lake(root), 9)
                cancel_import(Lake(root), row["id"])  # another process has tables of its own
                cancel_import(Lake(root), row["id"])
            note.require_going()

        return import_file(
            Lake(root),
            path,
            user_column="who",
            event_column="what",
            time_column="when",
            now_ms=NOW,
            rows_at_once=10,
            begin=note.begin,
            progress=after_chunk,
        )

    with pytest.raises(ImportCancelled):
        imported(Note(Lake(root), ["a.csv"], {}, "", NOW), 20)
    assert (done_rows, Lake(root).events().collect().height) == ([10, 20], 20)
    (row,) = noted_imports(Lake(root), 9)
    assert row["state"] == "cancelled" and "cancelled" in imports_text([row])

    with pytest.raises(ImportCancelled):
        imported(Note(Lake(root), ["a.csv"], {}, "", NOW + 1), 30)  # a run that takes it up may be cancelled, too
    again = Note(Lake(root), ["a.csv"], {}, "", NOW + 2)
    done = imported(again, None)
    again.end(done)
    assert (done, done_rows[2:]) == (Imported(10, 0, 30), [10, 20, 30, 10, 20, 30, 40])
    rows = Lake(root).scan(EVENTS).collect()
    assert rows["event_id"].n_unique() == rows.height == 40 and set(rows["import_id"]) == {row["id"]} == {done.id}
    numbers = ("id", "state", "run", "accepted", "already")
    assert [[one[name] for name in numbers] for one in noted_imports(Lake(root), 9)] == [[row["id"], "done", 3, 40, 0]]

    last = Note(Lake(root), ["a.csv"], {}, "", NOW + 3)
    last.end(imported(last, None))
    newest, _ = noted_imports(Lake(root), 9)
    assert newest["id"] != row["id"] and (newest["accepted"], newest["already"]) == (0, 40)


def test_an_import_is_not_cancelled_once_its_rows_are_in(tmp_path: Path) -> None:
    """Nothing is left to cancel; one that ended as it was cancelled has ended. An id that is not there is refused."""
    lake = Lake(str(tmp_path / "lake"))
    ended, crossed = Note(lake, ["a.csv"], {}, "", NOW), Note(lake, ["b.csv"], {}, "", NOW + 1)
    ended.begin(["a"])
    ended.require_going()
    ended.end(Imported(3, 0, 0))
    crossed.begin(["b"])
    crossed_row, ended_row = noted_imports(lake, 9)
    with pytest.raises(NotCancelled, match="has ended"):
        cancel_import(lake, ended_row["id"])
    with pytest.raises(NotCancelled, match="tinycdp imports lists"):
        cancel_import(lake, "nobody")

    cancel_import(lake, crossed_row["id"])
    with pytest.raises(ImportCancelled):
        crossed.require_going()
    crossed.end(Imported(7, 0, 0))
    assert [(row["state"], row["accepted"]) for row in noted_imports(lake, 9)] == [("done", 7), ("done", 3)]
