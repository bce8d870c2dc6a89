"""Questions for decisions, and what their answers say. No I/O: both clients ask them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ._answers import object_in
from ._decisions import Answer, decision_of, max_age_s
from ._http import Reply


@dataclass(frozen=True)
class Question:
    """One request for decisions: of one flag, or of all where `flag` is None."""

    ids: tuple[str, ...]
    flag: str | None
    method: str
    path: str
    body: bytes | None
    is_explained: bool = False


def _named(user_id: str | int | None, anonymous_id: str | None) -> dict[str, str]:
    named = {}
    if user_id is not None:
        named["userId"] = str(user_id)
    if anonymous_id is not None:
        named["anonymousId"] = anonymous_id
    return named


def _ids(named: dict[str, str]) -> tuple[str, ...]:
    kinds = {"userId": "user", "anonymousId": "anon"}
    return tuple(f"{kinds[name]}:{value}" for name, value in named.items())


def one_flag(user_id: str | int | None, anonymous_id: str | None, flag: str, *, explain: bool) -> Question:
    """The question for one flag."""
    named = _named(user_id, anonymous_id)
    query = urlencode({**named, "flag": flag, **({"explain": "true"} if explain else {})})
    return Question(_ids(named), flag, "GET", f"/v1/decide?{query}", None, explain)


def all_flags(user_id: str | int | None, anonymous_id: str | None) -> Question:
    """The question for every flag, as of one moment."""
    named = _named(user_id, anonymous_id)
    return Question(_ids(named), None, "POST", "/v1/decide", json.dumps(named).encode())


def read_answer(question: Question, reply: Reply, kept: Answer | None, now_s: float) -> tuple[Answer | None, str, bool]:
    """The answer, else None and why there is none; and whether the server is away, which a breaker counts."""
    fresh_until_s = now_s + max_age_s(reply.cache_control)
    if reply.status == 304 and kept is not None:
        return Answer(kept.decisions, reply.etag or kept.etag, now_s, fresh_until_s), "", False
    try:
        said: Any = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None, f"{reply.status}, and no JSON", reply.status >= 500 or reply.status == 200
    if reply.status != 200:
        message = said.get("message", "") if isinstance(said, dict) else ""
        return None, f"{reply.status} {message}".strip(), reply.status >= 500 or reply.status == 429
    try:
        bodies = [said] if question.flag is not None else said["decisions"]
        decisions = tuple(decision_of(body) for body in bodies)
    except (KeyError, TypeError):
        return None, "the answer is not TinyCDP's", True
    return Answer(decisions, reply.etag, now_s, fresh_until_s), "", False


def is_no_flag(reply: Reply) -> bool:
    """Whether the API says that there is no such flag. A proxy's 404, and that of another path, has no details."""
    return reply.status == 404 and bool(object_in(reply.body).get("details"))
