"""A real stack for the tests of apps, as a fixture of pytest: `pytest_plugins = ["tinycdp.pytest_plugin"]`.

It needs the engine's command `tinycdp`, beside the interpreter or on the path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .client import Client


@dataclass(frozen=True)
class Stack:
    """A running stack: where it answers, and its keys."""

    url: str
    write_key: str
    read_key: str
    admin_key: str

    def client(self, **settings: Any) -> Client:
        """A client of the stack, which reads traits too."""
        return Client(self.url, self.write_key, self.read_key, self.admin_key, **settings)


@pytest.fixture(scope="session")
def tinycdp_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A real stack in a folder of its own, on free ports, without Prefect, for all tests of a run."""
    home = tmp_path_factory.mktemp("tinycdp")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TINYCDP_")}
    environment |= {"TINYCDP_HOME": str(home), "TINYCDP_PORT": "0"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    tinycdp = shutil.which("tinycdp", path=path)
    if tinycdp is None:
        raise RuntimeError("the command tinycdp is not installed here: it comes with the engine, not with its client")
    command = [tinycdp, "up", "--no-prefect", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            line = running.stdout.readline()
            if not line:
                raise RuntimeError("`tinycdp up` ended before it was ready; its error is above")
            addresses = json.loads(line)
            keys = json.loads(Path(addresses["keys_file"]).read_text())
            yield Stack(addresses["api_url"], keys["write"], keys["read"], keys["admin"])
        finally:
            running.terminate()
            running.communicate()
