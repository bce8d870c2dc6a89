"""What the README tells a newcomer to type, typed: every command of the first ten minutes, against a stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import up
from serving.settings import Settings
from tests.running import RunningStack

README = Path(__file__).parents[2] / "README.md"
MINUTES = README.read_text().partition("## The first ten minutes")[2].partition("\n## ")[0]
SETUP, *_ = BLOCKS = re.findall(r"```sh\n(.*?)```", MINUTES, re.DOTALL)

pytestmark = pytest.mark.xdist_group("readme")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """What `make up` leaves a newcomer with, on ports of its own."""
    settings = Settings(home=tmp_path_factory.mktemp("first") / ".tinycdp", port=0)
    found = up.start(settings, with_prefect=False)
    running = RunningStack(found, settings)
    try:
        yield running
    finally:
        running.http.close()
        up.stop(settings, found)


def typed(stack: RunningStack, commands: str) -> str:
    """What a shell prints, in the folder that holds `.tinycdp`, of commands that must all succeed."""
    commands = commands.replace("source .venv/bin/activate\n", "").replace("http://127.0.0.1:4000", stack.stack.api_url)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=stack.settings.home.parent,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_first_ten_minutes(empty: RunningStack) -> None:
    """Definitions are saved, two events are sent, and the decision is yes; then every command of the second block."""
    printed = [json.loads(one) for one in re.split(r"(?<=\})(?=\{)", typed(empty, SETUP))]

    assert [next(iter(one)) for one in printed[:3]] == ["trait", "segment", "flag"]
    assert [one["success"] for one in printed[3:5]] == [True, True]
    decision, traits = printed[5:]
    assert (decision["flag"], decision["allow"]) == ("free_shipping", True)
    assert (traits["traits"], traits["segments"]) == ({"orders_30d": 2}, {"loyal": True})

    (empty.settings.home.parent / "history.csv").write_text("customer,event,at\ngrace,purchase,2024-01-01T00:00:00Z\n")
    said = {command.split()[1]: typed(empty, command) for command in BLOCKS[1].splitlines()}
    assert list(said) == ["import", "users", "explain", "sql", "doctor"]
    assert said["users"].strip() == "1"
    assert "SELECT" in said["sql"]
    assert "0 of" in said["doctor"]
