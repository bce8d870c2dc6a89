"""What the console's server answers to an editor when the API is slow, away, or refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dashboard import keyring
from dashboard.console import Console
from dashboard.editor.routes import WAITING_MAX, editor_routes
from tests.sdk.scripted_server import Answer, Asked, ScriptedServer, scripted_server
from tests.waiting import wait_until

QUESTION = {"kind": "segment", "expression": "a == 1", "parts": [], "position": 3, "key": "loyal"}


def said(status: int, body: Any) -> Answer:
    """An answer of the API."""
    return status, {}, json.dumps(body).encode()


class Editor:
    """The console's routes beside an API that answers what a test says, asked as a browser that is signed in."""

    def __init__(self, api: ScriptedServer, client: TestClient) -> None:
        self.api, self.client = api, client

    def check(self, question: Any = QUESTION) -> httpx.Response:
        """The answer to one question."""
        answer: httpx.Response = self.client.post("/expression-editor/check", json=question)
        return answer


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who signs in from now on waits half a second for what is not read in the lake."""
    monkeypatch.setattr(keyring, "ANSWER_S_MAX", 0.5)


@pytest.fixture
def editor() -> Iterator[Editor]:
    """Signed in with a key; the API has answered one request."""
    with scripted_server(lambda _: said(200, {"traits": [], "kind": "admin"})) as api:
        console = Console(api.url)
        cookie = console.keyring.sign_in("key")
        with TestClient(Starlette(routes=editor_routes(console)), cookies={console.cookie: cookie}) as client:
            yield Editor(api, client)
        console.keyring.close()


def test_a_question_is_asked_as_the_person_who_is_signed_in(editor: Editor) -> None:
    """With all that the editor says, and nothing else."""
    editor.api.answer = lambda _: said(200, {"valid": True})

    assert editor.check({**QUESTION, "more": 1}).json() == {"valid": True}

    asked = editor.api.asked[-1]
    assert (asked.path, asked.headers["authorization"]) == ("/v1/admin/validate", "Bearer key")
    assert asked.body == {"type": "segment", "expression": "a == 1", "parts": [], "position": 3, "key": "loyal"}


def test_a_refusal_keeps_its_status_and_words(editor: Editor) -> None:
    """And an API that cuts the connection is one to be asked again."""
    editor.api.answer = lambda _: said(403, {"code": "permission_denied", "message": "not with this key"})
    refused = editor.check()
    editor.api.answer = lambda _: None
    away = editor.check()

    assert (refused.status_code, refused.json()["message"]) == (403, "not with this key")
    assert away.status_code == 503


def test_a_preview_is_waited_for_longer_than_a_check(hasty: None, editor: Editor) -> None:
    """It is read in the lake: one that is given up would be asked anew, and again, and be read each time."""
    release, asked = threading.Event(), threading.Event()

    def slow(request: Asked) -> Answer:
        if request.path == "/v1/admin/preview":
            asked.set()
        release.wait(60)
        return said(200, {"count": 1})

    editor.api.answer = slow
    with ThreadPoolExecutor(1) as beside:
        preview = beside.submit(editor.client.post, "/expression-editor/preview", json=QUESTION)
        try:
            assert asked.wait(60)
            given_up = editor.check()
        finally:
            release.set()
        answer = preview.result(60)

    assert given_up.status_code == 503
    assert (answer.status_code, answer.json()) == (200, {"count": 1})


def test_a_slow_api_holds_up_so_many_questions_and_no_more(editor: Editor) -> None:
    """One more is refused at once; when the API has answered there is room again."""
    release = threading.Event()

    def slow(_: Asked) -> Answer:
        release.wait(60)
        return said(200, {"valid": True})

    editor.api.answer = slow
    before = len(editor.api.asked)
    with ThreadPoolExecutor(WAITING_MAX) as browsers:
        waiting = [browsers.submit(editor.check) for _ in range(WAITING_MAX)]
        try:
            wait_until(lambda: len(editor.api.asked) == before + WAITING_MAX, "the API has all questions")
            one_more = editor.check()
        finally:
            release.set()
        answers = [answer.result().status_code for answer in waiting]

    assert (one_more.status_code, one_more.json()["message"]) == (
        503,
        "The API is slow at the moment; the editor asks again.",
    )
    assert answers == [200] * WAITING_MAX
    assert editor.check().status_code == 200
