"""The TypeScript client in Node on a hostile way to a server that is killed: each event counts once or is told."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from lake.lake import Lake
from tests.faults.hostile_proxy import FAULTS, LATE_S, hostile_proxy
from tests.faults.parts import await_drained, await_well, kill
from tests.faults.truth import assert_lake_is_exact
from tests.running import RunningStack
from tests.sdk.typescript_package import package_in
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("victim"), pytest.mark.timeout(400)]

EVENTS = 3_000

#: Tracks in bursts, so that there are many requests; ends when its input does.
PROGRAM = """
import { initTinyCDP } from "@tinycdp/sdk";

const [endpoint, events, timeout] = process.argv.slice(2);
const lost = [];
const client = initTinyCDP({
  endpoint, writeKey: process.env.WRITE_KEY, flushAt: 20, flushIntervalMs: 50, timeout: Number(timeout),
  maxQueueSize: 10000, retry: { initialDelay: 10, maxDelay: 100 }, onError: ({ messageId }) => lost.push(messageId),
});
for (let number = 0; number < events; number++) {
  const messageId = `node-${number}`;
  client.track({ userId: `node-${number % 40}`, event: "travelled", properties: { number }, messageId });
  if (number % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 10));
}
for await (const _ of process.stdin);
const { queued } = await client.destroy(60000);
console.log(JSON.stringify({ queued, lost }));
"""


def test_each_event_counts_once_or_is_told(victim: RunningStack, tmp_path: Path) -> None:
    """The way drops, delays, cuts, repeats and invents answers, and the server is killed with -9.

    When it is calm again the lake has each event once that the client did not tell as refused, dropped or unknown.
    """
    package = package_in(tmp_path / "sdk")
    package.build()
    script = package.app(tmp_path / "app") / "travels.mjs"
    script.write_text(PROGRAM)
    with hostile_proxy(victim.stack.api_url, seed=11) as proxy:
        command = [package.node, str(script), proxy.url, str(EVENTS), str(int(LATE_S * 500))]
        environment = {**os.environ, "WRITE_KEY": victim.keys["write"]}
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            try:
                pid = kill(victim, "api")
                await_well(victim, "api", pid)
                wait_until(lambda: set(FAULTS) <= set(proxy.done), "each fault has happened")
                proxy.is_calm = True
                output, _ = client.communicate("", timeout=120)
            finally:
                client.kill()

    said = json.loads(output.splitlines()[-1])
    assert said["queued"] == 0
    await_drained(victim)
    event_ids = Lake(victim.stack.lake_uri).events().select("event_id").collect().get_column("event_id").to_list()
    counted = Counter(event_id for event_id in event_ids if event_id.startswith("node-"))
    wrong = {
        number: counted[f"node-{number}"]
        for number in range(EVENTS)
        if counted[f"node-{number}"] != 1 and not (f"node-{number}" in said["lost"] and not counted[f"node-{number}"])
    }
    assert wrong == {}
    assert len(said["lost"]) < EVENTS // 10
    assert_lake_is_exact(victim.stack.lake_uri)
