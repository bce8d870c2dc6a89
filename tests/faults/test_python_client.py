"""The Python client on a hostile way to a real server, both killed on the way: each event counts once or is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lake.lake import Lake
from tests.faults.hostile_proxy import FAULTS, LATE_S, hostile_proxy
from tests.faults.parts import await_drained, await_well, kill
from tests.faults.truth import assert_lake_is_exact
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("victim")

EVENTS = 3_000

#: Tracks from the number that was noted last. It notes each number when `track` has returned, and each failure as told.
PROGRAM = """
import os, sys, time
from pathlib import Path
import tinycdp
from tinycdp import _answers

_answers.WAIT_FIRST_S, _answers.WAIT_MAX_S = 0.01, 0.1
url, folder, events, timeout_s = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
lost = os.open(folder / "lost", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
client = tinycdp.Client(
    url, os.environ["WRITE_KEY"], queue_dir=folder / "queue", flush_at=20, flush_interval_s=0.05, timeout_s=timeout_s,
    on_error=lambda failure: os.write(lost, f"{failure.message_id} {failure.state}\\n".encode()),
)
noted = os.open(folder / "noted", os.O_RDWR | os.O_CREAT | os.O_APPEND)
for number in range((folder / "noted").read_bytes().count(b"\\n"), events):
    client.track(f"hostile-{number % 40}", "travelled", {"number": number}, message_id=f"hostile-{number}")
    os.write(noted, b".\\n")
    if number % 20 == 0:
        time.sleep(0.01)
sys.stdin.read()
print(client.close(60))
"""


@pytest.mark.deep
def test_each_event_counts_once_or_is_told(victim: RunningStack, tmp_path: Path) -> None:
    """The way drops, delays, cuts, repeats and invents answers; two clients and the server are killed with -9.

    When it is calm again the lake has each event once that no client told as refused, dropped or unknown.
    """
    with hostile_proxy(victim.stack.api_url, seed=11) as proxy:
        command = [sys.executable, "-c", PROGRAM, proxy.url, str(tmp_path), str(EVENTS), str(LATE_S / 2)]
        environment = {**os.environ, "WRITE_KEY": victim.keys["write"]}

        def noted() -> int:
            path = tmp_path / "noted"
            return path.read_bytes().count(b"\n") if path.exists() else 0

        def client() -> subprocess.Popen[str]:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )

        for upto in (EVENTS // 3, 2 * EVENTS // 3):
            with client() as killed:
                wait_until(lambda upto=upto: noted() >= upto, "the client tracks")
                killed.kill()
        with client() as last:
            pid = kill(victim, "api")
            await_well(victim, "api", pid)
            wait_until(lambda: noted() == EVENTS, "the client has tracked all")
            wait_until(lambda: set(FAULTS) <= set(proxy.done), "each fault has happened")
            proxy.is_calm = True
            said, _ = last.communicate("")

    assert "queued=0" in said and "on_disk=0" in said
    await_drained(victim)
    lost = dict(line.split() for line in (tmp_path / "lost").read_text().splitlines())
    event_ids = Lake(victim.stack.lake_uri).events().select("event_id").collect().get_column("event_id").to_list()
    counted = Counter(event_id for event_id in event_ids if event_id.startswith("hostile-"))
    wrong = {
        number: counted[f"hostile-{number}"]
        for number in range(EVENTS)
        if counted[f"hostile-{number}"] != 1 and not (f"hostile-{number}" in lost and not counted[f"hostile-{number}"])
    }
    assert wrong == {}
    assert len(lost) < EVENTS // 10
    assert_lake_is_exact(victim.stack.lake_uri)
