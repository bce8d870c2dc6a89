"""What a websocket passes before Streamlit sees it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboard.console import Console
from dashboard.gate import STRANGERS_MAX, Gate
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

STREAM = "ws://127.0.0.1/_stcore/stream"


async def streamlit(scope: Scope, receive: Receive, send: Send) -> None:
    """What is behind the gate here: it accepts, and stays until the browser goes."""
    socket = WebSocket(scope, receive, send)
    await socket.accept()
    with pytest.raises(WebSocketDisconnect):
        await socket.receive_text()


def test_few_websockets_without_a_sign_in_are_open_at_a_time(console: RunningStack) -> None:
    """One more is refused, and let in once another has gone; who is signed in is always let in."""
    here = Console(console.stack.api_url)
    cookie = here.keyring.sign_in(console.keys["admin"])
    headers = {"Cookie": f"{here.cookie}={cookie}"}
    browser = TestClient(Gate(streamlit, here))
    with ExitStack() as strangers:
        first = ExitStack()
        first.enter_context(browser.websocket_connect(STREAM))
        for _ in range(STRANGERS_MAX - 1):
            strangers.enter_context(browser.websocket_connect(STREAM))

        with pytest.raises(WebSocketDisconnect) as refused, browser.websocket_connect(STREAM):
            pass
        assert refused.value.code == 1013
        with browser.websocket_connect(STREAM, headers=headers):
            pass
        first.close()
        with browser.websocket_connect(STREAM):
            pass
    here.keyring.close()
