"""`tinycdp imports cancel`: another terminal stops an import that runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lake.lake import Lake
from pipelines.importing.noted_imports import noted_imports
from tests.commands import ended
from tests.waiting import wait_until

ROWS = 1_000_000


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_another_terminal_stops_an_import(redis_url: str, tmp_path: Path) -> None:
    """The import ends with 1 and says so; its rows that are in stay, whole chunks of them, and it is listed."""
    path, root = tmp_path / "large.csv", str(tmp_path / "lake")
    path.write_text("who,what,when,id\n" + "".join(f"u,seen,1700000000000,{number}\n" for number in range(ROWS)))
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(tmp_path / "home"),
        "TINYCDP_REDIS_URL": redis_url,
        "TINYCDP_LAKE_URI": root,
    }
    words = ["import", str(path), "--user", "who", "--event", "what", "--time", "when", "--id", "id", "--json"]
    running = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        (begun,) = wait_until(lambda: noted_imports(Lake(root), 9), "the import is listed", 120)
        running.send_signal(signal.SIGSTOP)  # it cannot be done before the other command has begun
        assert begun["state"] == "begun", "it was done before it could be stopped"
        said = ended(["imports", "cancel", begun["id"], "--json"], environment, 120)
        assert (said.returncode, json.loads(said.stdout)) == (0, {"id": begun["id"], "state": "cancelled"})
        running.send_signal(signal.SIGCONT)
        _, message = running.communicate(timeout=120)
    finally:
        running.kill()
        running.wait()
    height = Lake(root).events().collect().height

    assert (running.returncode, f"{begun['id']} was cancelled" in message) == (1, True), message
    assert 0 < height < ROWS and height % 50_000 == 0
    listed = ended(["imports", "--limit", "1", "--json"], environment, 120)
    assert [one["state"] for one in json.loads(listed.stdout)["imports"]] == ["cancelled"]
    refused = ended(["imports", "cancel", "nobody"], environment, 120)
    assert (refused.returncode, "no import has the id 'nobody'" in refused.stderr) == (1, True)
