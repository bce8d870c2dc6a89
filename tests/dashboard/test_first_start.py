"""A stack without data: each screen says what to do, and the dashboard leads to the first event."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack, stack_on
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("first start"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def empty_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that nobody has used."""
    with stack_on(tmp_path_factory.mktemp("empty"), drain_interval_s="0.2") as running:
        yield running


def test_the_way_from_nothing_to_an_event(empty_stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every list says what to do; the dashboard makes a key, shows how to send, sees the event, and goes on."""
    screens = Screens(empty_stack, monkeypatch)
    try:
        for path, remedy in (
            ("traits", "New trait"),
            ("segments", "New segment"),
            ("flags", "New flag"),
            ("users", "the dashboard shows how"),
            ("events", "POST /v1/track"),
            ("exports", "No segments yet"),
        ):
            assert remedy in texts(screens.open(path)), path

        app = screens.open()
        assert "There is no data yet" in texts(app)
        assert "Waiting for the first event" in texts(app)
        app.button[0].click().run()
        key = app.code[0].value
        assert any(key in code.value and "curl" in code.value for code in app.code)
        sent = {"userId": "ada", "event": "purchase", "properties": {"amount": 30}}
        answer = empty_stack.http.post("/v1/track", json=sent, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200

        assert "`purchase` of `ada` arrived." in texts(app.run())
        wait_until(lambda: "1" in [tile.value for tile in screens.open().metric], "the dashboard counts it", 60)
    finally:
        screens.console.keyring.close()
