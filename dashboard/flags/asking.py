"""Asks what a flag says for a person, and why."""

from __future__ import annotations

from typing import Any

from tinycdp import Admin

#: The field of a request that names an id, by the kind before it.
FIELDS = {"user": "userId", "anon": "anonymousId", "email": "emailHash"}


def why(admin: Admin, user: str, flag: str) -> dict[str, Any]:
    """One flag for a person, with the tree of values behind it. A question of the console is not counted as an app's.

    `user` is an id as a person types it, or as screens show it: with its kind before it, or without for a user.
    """
    kind, _, value = user.partition(":")
    is_named = kind in FIELDS and value.strip() != ""
    who = {FIELDS[kind]: value} if is_named else {"userId": user}
    answer: dict[str, Any] = admin.call("GET", "/v1/decide", query={**who, "flag": flag, "explain": "true"})
    return answer
