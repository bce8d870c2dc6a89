"""What is read in the lake may take long at ten million events: its screens wait longer than the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from tinycdp import Admin, Unreachable

from dashboard import keyring
from tests.dashboard.proxy import Held, proxy
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

#: How long other questions wait here.
OTHERS_WAIT_S = 2.0


@pytest.fixture(scope="module")
def awaited(console: RunningStack) -> RunningStack:
    """A stack with something on every screen that reads the lake."""
    console.define("trait", "awaited", "events.awaited.count")
    console.define("segment", "awaited_often", "awaited >= 1")
    console.define("flag", "awaited_flag", 'segment("awaited_often")')
    console.track("awaited-ada", "awaited")
    refused = {"userId": "awaited-ada", "event": "awaited", "timestamp": "tea"}
    assert console.call("POST", "/v1/track", "write", json=refused).status_code == 400
    wait_until(lambda: console.call("GET", "/v1/admin/rejected").json()["total"] > 0, "the lake has it", 60)
    return console


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(
    ("held", "path", "query", "shown"),
    [
        ("/v1/admin/vocabulary", "traits", {"new": "1"}, "A trait is a value"),
        ("/v1/admin/metrics", "", {}, "Events by name"),
        ("/users/search", "users", {}, "people"),
        ("/users/user%3Aawaited-ada", "users", {"id": "user:awaited-ada"}, "First seen"),
        ("/events?", "users", {"id": "user:awaited-ada", "tab": "Events"}, "First seen"),
        ("/awaited_often/members", "segments", {"key_": "awaited_often", "tab": "Members"}, "from the lake"),
        ("/v1/admin/preview", "traits", {"key_": "awaited", "tab": "Values"}, "from the lake"),
        ("/awaited_flag/people", "flags", {"key_": "awaited_flag", "tab": "People"}, "from the lake"),
        ("/v1/admin/rejected", "rejected", {}, "in all"),
        ("/v1/admin/audit", "audit", {}, "What admins did"),
    ],
)
def test_an_answer_of_the_lake_is_waited_for(
    awaited: RunningStack, monkeypatch: pytest.MonkeyPatch, held: str, path: str, query: dict[str, str], shown: str
) -> None:
    """A question that is asked later has been given up by then; the screen is drawn when its answer comes."""
    monkeypatch.setattr(keyring, "ANSWER_S_MAX", OTHERS_WAIT_S)
    requests = Held(held)
    api = urlsplit(awaited.stack.api_url)
    with proxy(int(api.port or 0), requests) as port, ThreadPoolExecutor(1) as beside:
        slow = RunningStack(replace(awaited.stack, api_url=f"http://127.0.0.1:{port}"), awaited.settings)
        screens = Screens(slow, monkeypatch)
        try:
            given_up = beside.submit(_give_up_then_let_go, requests, slow)
            app = screens.open(path, **query)
        finally:
            requests.let_go.set()
            screens.console.keyring.close()
            slow.http.close()

        given_up.result(60)
    assert [error.value for error in app.error] == []
    assert shown in texts(app)


def _give_up_then_let_go(requests: Held, slow: RunningStack) -> None:
    """Once the screen has asked, asks the same as the other screens do, until it is told that nobody answers."""
    assert requests.asked.wait(60)
    with Admin(slow.stack.api_url, slow.keys["admin"], timeout_s=OTHERS_WAIT_S) as others, pytest.raises(Unreachable):
        others.call("GET", requests.words.decode())
    requests.let_go.set()
