"""A person's data as files, however much there is of it."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest
from tinycdp import Admin, _http, admin

from dashboard.people import leaving
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def test_more_than_an_answer_holds_comes_in_files_one_after_the_other(
    console: RunningStack, screens: Screens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was said that the API does not answer. The bounds are smaller here, and the same."""
    monkeypatch.setattr(_http, "ANSWER_BYTES_MAX", 300_000)
    monkeypatch.setattr(admin, "EVENTS_THAT_FIT", 10)
    monkeypatch.setattr(leaving, "EVENTS_MAX", 100)
    small = [{"type": "track", "event": "dl_small", "userId": "dl-ada"} for _ in range(60)]  # the page shows the newest
    large = {"event": "dl_large", "userId": "dl-ada", "timestamp": "2026-01-02T00:00:00Z"}
    for _ in range(30):
        sent = {**large, "properties": {"text": "x" * 20_000}}
        assert console.call("POST", "/v1/track", "write", json=sent).status_code == 200
    assert console.call("POST", "/v1/batch", "write", json={"batch": small}).status_code == 200
    wait_until(lambda: _known(console) == 90, "all are in the lake", 60)
    app = screens.open("users", id="user:dl-ada", tab="Download, delete")

    click(app, "Prepare the file")
    assert "the events 1 to 10 of 90" in texts(app)
    click(app, "Prepare the file from event 11 on")
    assert "the events 11 to 20 of 90" in texts(app)
    click(app, "Prepare the file from event 21 on")
    assert "the events 21 to 90 of 90" in texts(app)
    with Admin(console.stack.api_url, console.keys["admin"]) as asking:
        assert len(list(asking.events_of("dl-ada"))) == 90
    assert [one.label for one in app.button if one.label.startswith("Prepare")] == ["Prepare the file"]


def click(app: AppTest, label: str) -> None:
    """Clicks a button."""
    next(one for one in app.button if one.label == label).click().run()
    assert not app.exception and not app.error


def _known(console: RunningStack) -> int:
    answer = console.call("GET", "/v1/admin/users/dl-ada/data", params={"limit": 1})
    return int(answer.json().get("total", 0))
