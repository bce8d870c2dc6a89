"""A thread that asks for the same users' traits and for one flag all the while, and judges every answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx

from tests.running import RunningStack


class Watch:
    """The answers so far.

    `counts` counts them by what they say of themselves. `wrong` has answers that say they are exact and are not, and
    flags that are no decision, or do not allow and give no reason for it.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[tuple[Any, ...]] = []
        self.failed: list[BaseException] = []

    def judge(self, user: str, answer: httpx.Response, flag: httpx.Response, is_right: Callable[..., bool]) -> None:
        """Notes an answer of traits, which is right or says that it is warming, and one of a flag, which allows or says
        why not."""
        body = answer.json()
        if answer.status_code != 200:
            self.counts[f"traits {answer.status_code}"] += 1
        elif body["warming"] or not body["exact"]:
            self.counts["traits warming"] += 1
        else:
            self.counts["traits exact"] += 1
            if not is_right(user, body["traits"]):
                self.wrong.append((user, body))
        decided = flag.json()
        if flag.status_code != 200:
            self.wrong.append((user, flag.status_code, decided))
            return
        self.counts[f"flag {decided['reason']}"] += 1
        if decided["reason"] not in ("STALE", "ERROR") and not decided["allow"]:
            self.wrong.append((user, decided))


@contextmanager
def watch(
    stack: RunningStack, users: Sequence[str], flag: str, is_right: Callable[[str, dict[str, Any]], bool]
) -> Iterator[Watch]:
    """Asks until the block ends. `flag` is a flag that allows all of the users; `is_right` judges exact traits."""
    seen, stop = Watch(), threading.Event()

    def ask() -> None:
        try:
            with httpx.Client(base_url=stack.stack.api_url, timeout=10) as http:
                admin, read = ({"Authorization": f"Bearer {stack.keys[kind]}"} for kind in ("admin", "read"))
                while not stop.is_set():
                    for user in users:
                        traits = http.get(f"/v1/users/{user}/traits", headers=admin)
                        decided = http.get("/v1/decide", params={"userId": user, "flag": flag}, headers=read)
                        seen.judge(user, traits, decided, is_right)
        except BaseException as error:
            seen.failed.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(timeout=60)
    assert not seen.failed, seen.failed
