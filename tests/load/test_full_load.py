"""64 clients that never pause: nothing fails, nothing is lost, and memory does not grow."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec
import psutil
import pytest

from benchmarks.load import measure, request
from cli import up
from lake.lake import Lake
from serving.settings import Settings
from tests.faults.parts import await_drained, pid_of
from tests.running import RunningStack
from tests.waiting import wait_until

CLIENTS = 64
#: Longer where somebody asks for it: TINYCDP_LOAD_S=60.
SECONDS = float(os.environ.get("TINYCDP_LOAD_S", "6"))
#: More than can be answered: no event is sent twice.
EVENTS_A_SECOND_MAX = 8_000
USERS = 500
GROWTH_MB_MAX = 60


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own, with a trait and a flag."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
    found = up.start(settings, with_prefect=False)
    running = RunningStack(found, settings)
    try:
        running.define("trait", "bought", "events.purchase.count_30d")
        running.define("flag", "offer", "bought >= 3")
        wait_until(lambda: not running.traits("nobody")["warming"], "the definitions are ready")
        yield running
    finally:
        running.http.close()
        up.stop(settings, found)


@pytest.mark.timeout(600)
def test_full_load(stack: RunningStack) -> None:
    """Every answer is 200; every event that was sent is in the lake once; the API's memory stays where it was."""

    def track(number: int) -> bytes:
        body = {"userId": f"u{number % USERS}", "event": "purchase", "messageId": f"load-{number}"}
        return request("POST", "/v1/track", stack.keys["write"], msgspec.json.encode(body))

    decide = [request("GET", f"/v1/decide?userId=u{number}&flag=offer", stack.keys["read"]) for number in range(USERS)]
    pid = pid_of(stack, "api")
    assert pid is not None
    api = psutil.Process(pid)
    sent = 0

    def load(seconds: float) -> None:
        """Events and decisions in turn. An answer that is no 200 raises."""
        nonlocal sent
        numbers = range(sent, sent + int(seconds * EVENTS_A_SECOND_MAX) // 2)
        calls = [one for number in numbers for one in (track(number), decide[number % USERS])]
        answers = measure(stack.stack.api_url, calls, CLIENTS, seconds).answers
        assert answers < len(calls), "each event was sent once"
        sent += (answers + 1) // 2

    load(SECONDS / 3)
    before = api.memory_info().rss
    load(SECONDS * 2 / 3)

    await_drained(stack)
    rows = Lake(stack.settings.lake_root).events().select("event_id").collect()
    assert sorted(rows["event_id"]) == sorted(f"load-{number}" for number in range(sent))
    assert api.memory_info().rss - before < GROWTH_MB_MAX * 1_000_000
    assert pid_of(stack, "api") == pid, "nothing was started anew"
