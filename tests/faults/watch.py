"""Somebody who asks for the same users' traits and one of their flags all the while, and judges every answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from tests.running import RunningStack


class Watch:
    """What was answered. `said` counts the answers by what they said of themselves; `wrong` has those that were said to
    be whole and exact and were neither."""

    def __init__(self) -> None:
        self.said: Counter[str] = Counter()
        self.wrong: list[tuple[str, Any]] = []
        self.failed: list[BaseException] = []

    def judge(self, user: str, answer: httpx.Response, flag: httpx.Response, is_right: Callable[..., bool]) -> None:
        """Traits are right, or said to be on their way; a flag is right, or says why it is not."""
        body = answer.json()
        if answer.status_code != 200:
            self.said[f"traits {answer.status_code}"] += 1
        elif body["warming"] or not body["exact"]:
            self.said["traits warming"] += 1
        else:
            self.said["traits exact"] += 1
            if not is_right(user, body["traits"]):
                self.wrong.append((user, body))
        decided = flag.json()
        self.said[f"flag {decided['reason']}"] += 1
        if decided["reason"] not in ("STALE", "ERROR") and not decided["allow"]:
            self.wrong.append((user, decided))


@contextmanager
def watch(
    stack: RunningStack, users: Sequence[str], flag: str, is_right: Callable[[str, dict[str, Any]], bool]
) -> Iterator[Watch]:
    """Asks until the block ends. `flag` is one that allows all of the users; `is_right` judges exact traits."""
    found, stop = Watch(), threading.Event()

    def ask() -> None:
        try:
            with httpx.Client(base_url=stack.stack.api_url, timeout=10) as http:
                admin, read = ({"Authorization": f"Bearer {stack.keys[kind]}"} for kind in ("admin", "read"))
                while not stop.is_set():
                    for user in users:
                        traits = http.get(f"/v1/users/{user}/traits", headers=admin)
                        decided = http.get("/v1/decide", params={"userId": user, "flag": flag}, headers=read)
                        found.judge(user, traits, decided, is_right)
        except BaseException as error:
            found.failed.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join(timeout=60)
    assert not found.failed, found.failed
