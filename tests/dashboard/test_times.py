"""Times on a screen are those of the workspace's zone, wherever the console and the browser are."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from dashboard import access
from dashboard.console import Console, set_console
from tests.sdk.scripted_server import Answer, Asked, scripted_server

ZONE = "Asia/Kathmandu"  # 5 h 45 min ahead of UTC, as no other zone is


def script() -> None:
    """A screen with two times, and where the fields of a flag begin."""
    import streamlit as st

    from dashboard.flags.options import _moment
    from dashboard.times import time_text

    st.write(time_text("2026-01-01T18:15:00Z"))
    st.write(time_text(None))
    st.write(_moment(st, "On from", "2026-01-01T18:15:30Z", "from", False))


def test_an_instant_is_shown_and_typed_in_the_zone_of_the_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag's time is typed in it; what nobody changed stays as it was saved, to the second."""

    def answer(_: Asked) -> Answer:
        key = {"id": "k", "kind": "admin", "label": ""}
        return 200, {}, json.dumps({"time_zone": ZONE, "release": "1", "now": "", "key": key}).encode()

    with scripted_server(answer) as api:
        console = Console(api.url)
        set_console(console)
        cookie = console.keyring.sign_in("key")
        monkeypatch.setattr(access, "cookie", lambda: cookie)
        app = AppTest.from_function(script, default_timeout=30).run()
        assert not app.exception
        shown = [one.value for one in app.markdown]
        console.keyring.close()

    assert shown == ["2026-01-02 00:00:00", "–", "2026-01-01T18:15:30Z"]
