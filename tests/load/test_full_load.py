"""64 clients that never pause, while rebuilds never pause: nothing fails, nothing is lost, and memory does not grow."""

from __future__ import annotations

import os
from collections import Counter

import msgspec
import polars as pl
import psutil
import pytest

from benchmarks.load import measure, request
from lake.lake import Lake
from tests.faults.parts import await_drained, pid_of
from tests.load.conftest import FLAGS
from tests.load.rebuilding import rebuilding
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("load")

CLIENTS = 64
#: Longer where somebody asks for it: TINYCDP_LOAD_S=30.
SECONDS = float(os.environ.get("TINYCDP_LOAD_S", "6"))
#: More rounds of the five calls than can be answered: no event is sent twice.
ROUNDS_A_SECOND_MAX = 500
BATCH = 20
USERS = 500
GROWTH_MB_MAX = 60


@pytest.mark.deep
@pytest.mark.timeout(600)
def test_full_load(stack: RunningStack) -> None:
    """Every answer is 200; every event that was sent is in the lake once, and counts once for its user, however many
    bases were published meanwhile; the API's memory stays where it was.

    Events one by one and in batches, decisions one by one, 50 at once, and as OpenFeature asks for them, in turn.
    """
    sent: list[str] = []
    whose: dict[str, str] = {}

    def event(user: int) -> bytes:
        sent.append(f"load-{len(sent)}")
        whose[sent[-1]] = f"u{user}"
        return msgspec.json.encode({"type": "track", "userId": f"u{user}", "event": "purchase", "messageId": sent[-1]})

    def calls(number: int) -> list[tuple[list[str], bytes]]:
        """A round: each call as bytes, and the events that it brings."""
        user, before = number % USERS, len(sent)
        named = {"userId": f"u{user}", "flags": [f"offer_{one}" for one in range(FLAGS)]}
        context = {"context": {"targetingKey": f"u{user}"}}
        write, read = stack.keys["write"], stack.keys["read"]
        track = request("POST", "/v1/track", write, event(user))
        many = b'{"batch":[' + b",".join(event((user + one) % USERS) for one in range(BATCH)) + b"]}"
        return [
            (sent[before : before + 1], track),
            ([], request("GET", f"/v1/decide?userId=u{user}&flag=offer_3", read)),
            (sent[before + 1 :], request("POST", "/v1/batch", write, many)),
            ([], request("POST", "/v1/decide", read, msgspec.json.encode(named))),
            ([], request("POST", "/ofrep/v1/evaluate/flags", read, msgspec.json.encode(context))),
        ]

    pid = pid_of(stack, "api")
    assert pid is not None
    api = psutil.Process(pid)
    arrived: list[str] = []

    def load(seconds: float) -> float:
        """The calls in turn; how many were answered a second. An answer that is no 200 raises."""
        made = [one for number in range(int(seconds * ROUNDS_A_SECOND_MAX)) for one in calls(number)]
        found = measure(stack.stack.api_url, iter([call for _, call in made]), CLIENTS, seconds)
        assert found.answers < len(made), "each event was sent once"
        arrived.extend(event for events, _ in made[: found.answers] for event in events)
        return found.per_second

    with rebuilding(stack) as rebuilt:
        load(SECONDS / 3)
        before = api.memory_info().rss
        per_second = load(SECONDS * 2 / 3)
        grown_mb = (api.memory_info().rss - before) / 1_000_000

    await_drained(stack)
    ours = pl.col("event_id").str.starts_with("load-")
    rows = Lake(stack.settings.lake_root).events().filter(ours).select("event_id").collect()
    print(f"{per_second:.0f} answers/s, {len(arrived)} events, API grew by {grown_mb:.1f} MB, {len(rebuilt)} rebuilds")
    assert rebuilt, "bases were published under load"
    counted = Counter(whose[one] for one in arrived)
    assert {user: stack.traits(user)["traits"]["bought"] for user in counted} == counted
    assert sorted(rows["event_id"]) == sorted(arrived)
    assert grown_mb < GROWTH_MB_MAX
    assert pid_of(stack, "api") == pid, "nothing was started anew"
