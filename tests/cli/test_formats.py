"""`tinycdp formats`, and what `tinycdp import --format` refuses before it reads a row."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.terminal import MISUSED

SAMPLE = Path(__file__).parents[2] / "examples" / "formats" / "amplitude.jsonl"


def test_formats_are_listed_and_printed_whole() -> None:
    """What is printed of a format is its file, which can be copied; scripts get the same as JSON."""
    listed = json.loads(CliRunner().invoke(app, ["formats", "--json"]).output)["formats"]
    people = CliRunner().invoke(app, ["formats"]).output
    assert all(one["about"] and one["name"] in people for one in listed)

    printed = CliRunner().invoke(app, ["formats", "amplitude"]).output
    assert tomllib.loads(printed)["about"] in [one["about"] for one in listed]
    assert json.loads(CliRunner().invoke(app, ["formats", "amplitude", "--json"]).output)["text"] == printed


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--format", "amplitud"], "--format amplitud is not known"),
        (["--format", "amplitude", "--user", "user_id"], "--user"),
        (["--format", "amplitude", "--time-unit", "s"], "--time-unit"),
        (["--format", "absent.toml"], "absent.toml cannot be read"),
        (["--table", "identifies"], "--table"),
    ],
)
def test_what_a_format_says_is_not_said_twice(options: list[str], said: str) -> None:
    """An option that nothing would follow is refused, as is a format that nobody knows."""
    done = CliRunner().invoke(app, ["import", str(SAMPLE), *options], env={"COLUMNS": "200"})
    assert (done.exit_code, said in done.output) == (MISUSED, True), done.output


def test_a_format_that_nobody_knows_is_not_printed() -> None:
    """The message has those that are known."""
    done = CliRunner().invoke(app, ["formats", "piwik"], env={"COLUMNS": "200"})
    assert (done.exit_code, "matomo" in done.output) == (MISUSED, True)
