"""A running stack as a client meets it: calls with the right key, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx

from cli.stack import Stack
from serving.access.keys import KeyKind, raw_keys
from serving.settings import Settings


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
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *arguments],
            env={**os.environ, "TINYCDP_HOME": str(self.settings.home)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if ok:
            assert done.returncode == 0, done.stderr + done.stdout[-3000:]
        return done

    def json(self, *arguments: str, ok: bool = True) -> Any:
        """What a command says with --json."""
        return json.loads(self.tinycdp(*arguments, "--json", ok=ok).stdout)
