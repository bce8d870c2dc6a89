"""A running stack as a client meets it: calls with the right key, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import up
from cli.ports import free_port
from cli.stack import Stack
from serving.access.keys import KeyKind, raw_keys
from serving.settings import Settings
from tests.commands import ended
from tests.waiting import wait_until


class RunningStack:
    """Calls to one stack."""

    def __init__(self, stack: Stack, settings: Settings) -> None:
        self.stack, self.settings = stack, settings
        self.keys = raw_keys(settings)
        self.http = httpx.Client(base_url=stack.api_url, timeout=30)

    def call(self, method: str, path: str, key: KeyKind | None = "admin", **more: Any) -> httpx.Response:
        """One request with a key of this kind."""
        headers = {} if key is None else {"Authorization": f"Bearer {self.keys[key]}"}
        return self.http.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)

    def define(self, kind: str, key: str, expression: str, **more: Any) -> dict[str, Any]:
        """Saves a definition, which must be accepted."""
        field = "expression" if kind == "trait" else "rule"
        answer = self.call("POST", f"/v1/admin/{kind}s", json={"key": key, field: expression, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()[kind]
        return found

    def track(self, user: str, event: str, **more: Any) -> dict[str, Any]:
        """Sends an event, which must be accepted."""
        answer = self.call("POST", "/v1/track", "write", json={"userId": user, "event": event, **more})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def traits(self, user: str) -> dict[str, Any]:
        """A user's traits and segments."""
        found: dict[str, Any] = self.call("GET", f"/v1/users/{user}/traits").json()
        return found

    def decide(self, user: str, flag: str, **more: str) -> dict[str, Any]:
        """What a flag says for a user."""
        found: dict[str, Any] = self.call(
            "GET", "/v1/decide", "read", params={"userId": user, "flag": flag, **more}
        ).json()
        return found

    def tinycdp(self, *arguments: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """The command line against this stack."""
        done = ended(arguments, {**os.environ, "TINYCDP_HOME": str(self.settings.home)}, timeout_s=120)
        if ok:
            assert done.returncode == 0, done.stderr + done.stdout[-3000:]
        return done

    def json(self, *arguments: str, ok: bool = True) -> Any:
        """What a command says with --json."""
        return json.loads(self.tinycdp(*arguments, "--json", ok=ok).stdout)


@contextmanager
def stack_on(home: Path, *, with_console: bool = False, **settings: str) -> Iterator[RunningStack]:
    """A whole stack as `tinycdp up --no-prefect` runs it on a home with such settings, until the end of the block.

    Its console takes a second of a processor to start, so it is left out unless a test asks for it.
    """
    with pytest.MonkeyPatch.context() as patch:  # the parts of a stack read their settings from the environment
        for name, value in environment_of(settings).items():
            patch.setenv(name, value)
        used = Settings(home=home, port=int(settings.get("port", 0)), console_port=0)
        stack = up.start(used, with_prefect=False, with_console=with_console)
    running = RunningStack(stack, used)
    try:
        yield running
    finally:
        running.http.close()
        up.stop(used, stack)


@contextmanager
def api_beside(stack: RunningStack, port: int = 0, **settings: str) -> Iterator[RunningStack]:
    """The stack by way of another API process, which has its Redis, lake and keys and settings of its own."""
    port = port or free_port()
    environment = {
        **os.environ,
        "TINYCDP_HOME": str(stack.settings.home),
        "TINYCDP_LAKE_URI": stack.stack.lake_uri,
        "TINYCDP_REDIS_URL": stack.stack.redis_url,
        "TINYCDP_PORT": str(port),
        **environment_of(settings),
    }
    running = RunningStack(replace(stack.stack, api_url=f"http://127.0.0.1:{port}"), stack.settings)
    process = subprocess.Popen([sys.executable, "-m", "cli.main", "api"], env=environment)
    try:
        wait_until(lambda: _answers(running.http), "the API answers")
        yield running
    finally:
        running.http.close()
        process.terminate()
        process.wait(20)


def environment_of(settings: Mapping[str, str]) -> dict[str, str]:
    """The variables that give settings to a process."""
    return {f"TINYCDP_{name.upper()}": value for name, value in settings.items()}


def _answers(api: httpx.Client) -> bool:
    try:
        return api.get("/health", timeout=1).status_code in (200, 503)
    except httpx.TransportError:
        return False
