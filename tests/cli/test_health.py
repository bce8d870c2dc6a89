"""What `tinycdp up` waits for and `tinycdp doctor` tells: whether the servers of a stack are well, and why not."""

from __future__ import annotations

import json
from pathlib import Path

from cli.health import Servers
from cli.ports import free_port
from cli.stack import Stack
from serving.settings import Settings
from tests.sdk.scripted_server import Asked, scripted_server


def test_a_server_that_is_not_well_says_why(tmp_path: Path) -> None:
    """The API names the checks that fail, Prefect its status; one that is well has no trouble."""
    checks: dict[str, dict[str, str]] = {"redis": {"status": "ok"}, "drain": {"status": "error", "error": "silent"}}
    prefect = 500

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if asked.path == "/api/health":
            return prefect, {}, b"true"
        is_well = all(check["status"] == "ok" for check in checks.values())
        body = {"status": "ok" if is_well else "error", "service": "tinycdp", "timestamp": "", "checks": checks}
        return 200 if is_well else 503, {}, json.dumps(body).encode()

    with scripted_server(answer) as server:
        stack = Stack(1, server.url, "redis://x", str(tmp_path), 1, server.url)
        with Servers(stack, Settings(home=tmp_path), 5.0) as servers:
            assert servers.troubles() == {"api": "is not well: drain (silent)", "prefect": "answers 500"}
            checks["drain"], prefect = {"status": "ok"}, 200
            assert servers.troubles() == {"api": None, "prefect": None}


def test_a_server_that_does_not_answer_is_told(tmp_path: Path) -> None:
    """Nobody listens; and a stack without Prefect has no trouble with it."""
    stack = Stack(1, f"http://127.0.0.1:{free_port()}", "redis://x", str(tmp_path), 1, None)

    with Servers(stack, Settings(home=tmp_path), 5.0) as servers:
        troubles = servers.troubles()

    assert list(troubles) == ["api"]
    assert str(troubles["api"]).startswith("does not answer: GET /health")
