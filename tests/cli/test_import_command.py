"""`tinycdp import` at the terminal: what it says of an import, and what it refuses before it reads a row."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.import_history import FileMapping, say_imported, withheld_hint
from cli.main import app
from cli.terminal import MISUSED
from pipelines.importing.chunks import is_jsonl
from pipelines.importing.made import Inexact
from pipelines.importing.report import Imported, Moment, Preview, Reason, Sample


def test_a_dry_run_for_scripts_says_what_would_go_in(capsys: pytest.CaptureFixture[str]) -> None:
    """The document counts events by name and properties by kind of value; a real import has no preview."""
    refused = [Reason("at: no time", 1, [Sample(3, "at: 'x' is no time", "u,x")])]
    preview = Preview(
        Counter(order=2, seen=1), {"price": Counter(number=1, string=1)}, 5, 6, 1, [Moment("user:ada", "order", 5)]
    )
    say_imported(Imported(3, 1, 0, refused, {"order": Inexact(1, 2, "9007199254740993")}, "cp1252", preview), True)

    document = json.loads(capsys.readouterr().out)

    assert document["preview"] == {
        "events": {"order": 2, "seen": 1},
        "properties": {"price": {"number": 1, "string": 1}},
        "first_ms": 5,
        "last_ms": 6,
        "at_known_times": 1,
        "at_known_times_samples": [{"id": "user:ada", "event": "order", "ts_ms": 5}],
    }
    assert document["refused"][0]["samples"] == [{"line": 3, "reason": "at: 'x' is no time", "row": "u,x", "file": ""}]
    assert (document["accepted"], document["inexact"]["order"]["line"]) == (3, 2)

    say_imported(Imported(3, 1, 0), True)
    assert "preview" not in json.loads(capsys.readouterr().out)


def test_refused_rows_are_not_written_over_the_file_itself(tmp_path: Path) -> None:
    """The file of refused rows begins empty, so the file that is imported would be gone before it is read."""
    path, other = tmp_path / "a.jsonl", tmp_path / "link.jsonl"
    path.write_text('{"type": "track"}\n')
    other.symlink_to(path)

    for rejects in (path, other):
        done = CliRunner().invoke(app, ["import", str(path), "--rejects", str(rejects)])
        assert (done.exit_code, "--rejects" in done.output) == (MISUSED, True)
    assert path.read_text() == '{"type": "track"}\n'


@pytest.mark.parametrize(
    "option", [("--text", "order"), ("--number", "price"), ("--time-unit", "s")], ids=["text", "number", "unit"]
)
def test_options_about_columns_are_refused_for_events_as_apps_send_them(
    tmp_path: Path, option: tuple[str, str]
) -> None:
    """Nothing would read them, and the import would look as if they had been followed."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"type": "track"}\n')
    done = CliRunner().invoke(app, ["import", str(path), *option])
    assert (done.exit_code, option[0] in done.output, "columns" in done.output) == (MISUSED, True, True)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.jsonl", True), ("a.NDJSON.gz", True), ("a.json.zst", True), ("a.jsonl.csv", False), ("a.jsonl.txt", False)],
)
def test_a_file_of_json_lines_is_known_by_its_name(name: str, is_one: bool) -> None:
    """The last ending counts, behind which may be that of a packed file."""
    assert is_jsonl(Path(name)) == is_one


@pytest.mark.parametrize(
    ("mapping", "already", "is_told"),
    [
        (FileMapping("who", None, "at", "order", attributes=("plan",)), 2, True),
        (FileMapping("who", None, "at", "order", attributes=("plan",)), 0, False),
        (FileMapping("who", None, "at", None, attributes=("plan",)), 2, False),
        (FileMapping("who", "what", "at", "order"), 2, False),
    ],
    ids=["withheld", "none withheld", "without ids", "events"],
)
def test_attributes_that_are_withheld_for_the_ids_of_events_come_with_a_hint(
    mapping: FileMapping, already: int, is_told: bool
) -> None:
    """One id is one event: attributes from the rows of events that are in stay out with it, and who reads "were there
    already" takes them for in."""
    hint = withheld_hint(mapping, Imported(0, 0, already))
    assert (hint is not None and "leave --id out" in hint and "order" in hint) == is_told
    assert is_told or hint is None
