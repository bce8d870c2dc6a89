"""The page on imports: each file that it shows is written, and each command that it has is typed."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "import.md").read_text()
FILES = dict(re.findall(r"`([a-z]+\.(?:csv|jsonl|toml))`:\n\n```(?:csv|json|toml)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
FORMATS = [command for command in COMMANDS if "--format" in command]
IMPORTS = [command for command in COMMANDS if command != "tinycdp imports" and command not in FORMATS]


def imported(stack: RunningStack, folder: Path, command: str) -> dict[str, Any]:
    """What a command of the page says, as JSON, with its files in a folder."""
    program, *words = shlex.split(command.removesuffix(" --json"))
    assert program == "tinycdp"
    in_folder = [str(folder / word) if word in FILES or word == "refused.jsonl" else word for word in words]
    said: dict[str, Any] = stack.json(
        *[str(ROOT / word) if word.startswith("examples/") else word for word in in_folder]
    )
    return said


@pytest.mark.deep
def test_the_page_on_imports(stack: RunningStack, tmp_path: Path) -> None:
    """Every command does what the page says of it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    said = [imported(stack, tmp_path, command) for command in IMPORTS]
    (listing,) = {*COMMANDS} - {*IMPORTS} - {*FORMATS}
    listed = stack.json(*shlex.split(listing)[1:])["imports"]

    assert [(one["accepted"] + one["already"], one["rejected"]) for one in said] == [
        (5, 0),
        (5, 0),
        (5, 0),
        (3, 0),
        (2, 0),
        (2, 0),
        (2, 0),
        (2, 0),
        (2, 2),
        (2, 0),
    ]
    assert said[6]["read_as"] == "cells separated by semicolon"
    assert said[6]["inexact"] == {}, "--text keeps the digits"
    assert (said[9]["accepted"], said[9]["already"]) == (0, 2), "the same file again adds nothing"
    refused = {sample["line"]: sample["reason"] for one in said[8]["refused"] for sample in one["samples"]}
    assert list(sorted(refused)) == [3, 4]
    assert "yesterday" in refused[3] and "never closed" in refused[4]
    written = [json.loads(line) for line in (tmp_path / "refused.jsonl").read_text().splitlines()]
    assert written[0]["mapping"]["user"] == "who"
    assert sorted(one["line"] for one in written[1:]) == [3, 4]
    assert {"row", "text"} == {next(name for name in ("row", "text") if name in one) for one in written[1:]}
    real = [one for one in said if "preview" not in one]
    ours = listed[: len(real)][::-1]
    numbers = ("accepted", "already", "rejected")
    assert [[one[name] for name in numbers] for one in ours] == [[one[name] for name in numbers] for one in real]
    assert ours[2]["files"] == ["kept.jsonl"] and {one["state"] for one in ours} == {"done"}
    gone = stack.json("imports", "undo", ours[-1]["id"], "--with-dependents")
    assert (gone["undone"], gone["rows"], gone["claims"]) == ([ours[-1]["id"]], ours[-1]["accepted"], 0)
    assert "undone already" in stack.tinycdp("imports", "undo", ours[-1]["id"], ok=False).stderr


#: How many events each command of a format brings.
BROUGHT = {
    "segment": 5,
    "segment-warehouse": 2,
    "rudderstack": 5,
    "rudderstack-warehouse": 1,
    "amplitude": 5,
    "mixpanel": 7,
    "mixpanel-people": 2,
    "posthog": 10,
    "ga4": 5,
    "snowplow": 4,
    "matomo": 5,
    "mine.toml": 5,
}


@pytest.mark.deep
def test_the_formats_of_the_page(stack: RunningStack, tmp_path: Path) -> None:
    """Every command does what the page says; what an identify and an alias say counts, and ids belong together."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    brought = Counter[str]()
    for command in FORMATS:
        said = imported(stack, tmp_path, command)
        assert said["rejected"] == 0, said["refused"]
        brought[command.partition("--format ")[2].split()[0]] += said["accepted"] + said["already"]
    assert brought == BROUGHT
    for id in ("user:seg-ada", "anon:seg-phone", "anon:seg-old"):
        told = stack.call("GET", f"/v1/admin/users/{id}").json()["user"]
        assert (told["id"], told["attributes"].get("plan")) == ("user:seg-ada", "pro"), id
