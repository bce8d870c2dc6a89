"""Whether the servers of a stack are well: the API, by the Python client, and those of Prefect and the console."""

from __future__ import annotations

from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import tinycdp

from cli.stack import Stack
from serving.access.keys import raw_keys
from serving.settings import Settings


class Servers:
    """The servers of a stack, to be asked in a `with`, again and again. Each answer may take `answer_s` seconds."""

    def __init__(self, stack: Stack, settings: Settings, answer_s: float) -> None:
        self._admin = tinycdp.Admin(stack.api_url, raw_keys(settings)["admin"], timeout_s=answer_s)
        self._health_urls, self._answer_s = stack.health_urls, answer_s
        #: How many shards the drain was bringing back, when `troubles` asked last; 0 where it does not say that it is.
        self.recovering = 0

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, *_: object) -> None:
        self._admin.close()

    def troubles(self) -> dict[str, str | None]:
        """By server, why it is not well; None where it is."""
        others = {name: _trouble_at(url, self._answer_s) for name, url in self._health_urls.items()}
        return {"api": self._api_trouble(), **others}

    def _api_trouble(self) -> str | None:
        self.recovering = 0
        try:
            health = self._admin.health()
        except tinycdp.TinyCDPError as error:
            return f"does not answer: {error}"
        checks: Mapping[str, Any] = health["checks"]
        if checks.get("drain", {}).get("recovering"):
            self.recovering = len(checks.get("shards", {}).get("recovering", ()))
        bad = {name: check.get("error") for name, check in checks.items() if check["status"] != "ok"}
        if health["status"] == "ok":
            return None
        return "is not well: " + ", ".join(f"{name} ({error})" if error else name for name, error in bad.items())


def _trouble_at(url: str, answer_s: float) -> str | None:
    try:
        with urlopen(url, timeout=answer_s):
            return None
    except HTTPError as error:
        return f"answers {error.code}"
    except (OSError, HTTPException) as error:
        return f"does not answer: {error}"
