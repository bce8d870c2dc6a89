"""What the README tells a newcomer to type, typed: every command of the first ten minutes, in two terminals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import running_stack
from serving.settings import Settings
from tests.waiting import wait_until

README = Path(__file__).parents[2] / "README.md"
MINUTES = README.read_text().partition("## The first ten minutes")[2].partition("\n## ")[0]
FIRST, SETUP, COMMANDS = re.findall(r"```sh\n(.*?)```", MINUTES, re.DOTALL)
#: What the README leaves at its default; tests run beside each other.
PORTS = {"TINYCDP_PORT": "0", "TINYCDP_PREFECT_PORT": "0"}

pytestmark = pytest.mark.xdist_group("readme")


def shell(folder: Path, commands: str) -> subprocess.Popen[str]:
    """A terminal of somebody who has typed nothing yet, into which this is typed. It ends at the first failure."""
    path = os.pathsep.join(
        one for one in os.environ["PATH"].split(os.pathsep) if one != str(Path(sys.executable).parent)
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}
    return subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={**environment, **PORTS, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def typed(folder: Path, commands: str) -> str:
    """What a terminal prints of commands that must all succeed."""
    with shell(folder, commands) as terminal:
        said, wrong = terminal.communicate(timeout=120)
    assert terminal.returncode == 0, wrong
    return said


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder with the environment that make builds, in whose first terminal a stack runs; and the API's address."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / ".venv").symlink_to(Path(sys.prefix), target_is_directory=True)
    (folder / "examples").symlink_to(README.parent / "examples", target_is_directory=True)
    settings = Settings(home=folder / re.findall(r"TINYCDP_HOME=(\S+)", FIRST)[0])
    with shell(folder, FIRST) as terminal:
        try:
            wait_until(lambda: running_stack(settings) is not None or terminal.poll() is not None, "a stack")
            found = running_stack(settings)
            assert found is not None and terminal.stdout is not None, terminal.communicate()
            said = iter(terminal.stdout.readline, "")
            assert any(line.startswith("Ctrl-C stops it") for line in said), terminal.communicate()
            yield folder, found.api_url
        finally:
            os.killpg(terminal.pid, signal.SIGINT)  # Ctrl-C
            terminal.communicate(timeout=60)
    assert terminal.returncode == 0
    assert running_stack(settings) is None


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_the_first_ten_minutes(clone: tuple[Path, str]) -> None:
    """Definitions are saved, two events are sent, and the decision is yes; then every command of the last block."""
    folder, api_url = clone
    setup = SETUP.replace("http://127.0.0.1:4000", api_url)
    printed = [json.loads(one) for one in re.split(r"(?<=\})(?=\{)", typed(folder, setup))]

    assert [next(iter(one)) for one in printed[:3]] == ["trait", "segment", "flag"]
    assert [one["success"] for one in printed[3:5]] == [True, True]
    decision, traits = printed[5:]
    assert (decision["flag"], decision["allow"]) == ("free_shipping", True)
    assert (traits["traits"], traits["segments"]) == ({"orders_30d": 2}, {"loyal": True})

    (snippet,) = re.findall(r"```python\n(.*?)```", MINUTES, re.DOTALL)
    (folder / "snippet.py").write_text(snippet.replace("http://127.0.0.1:4000", api_url))
    assert typed(folder, f"{setup.partition('key()')[0]}\npython snippet.py") == "True\n2 sent\n"

    terminal, _, _ = setup.partition("\n\n")
    said = {command.split()[1]: typed(folder, f"{terminal}\n{command}") for command in COMMANDS.splitlines()}
    assert list(said) == ["import", "users", "explain", "sql", "doctor"]
    assert said["import"].startswith("5 events imported, 0 rejected")
    assert said["users"].strip() == "1"
    assert "TARGETING_MATCH" in said["explain"]
    assert "SELECT" in said["sql"]
    assert "0 of" in said["doctor"]
