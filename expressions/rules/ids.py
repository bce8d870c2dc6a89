"""The kinds of ids, and which record a text means where one field takes all kinds.

A raw id is what an app sends. A namespaced id, `user:alice`, names a record.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

IdKind: TypeAlias = Literal["user", "anon", "email"]

ID_KINDS: tuple[IdKind, ...] = ("user", "anon", "email")


def record_of(text: str) -> str:
    """The record that a text means where a request has one id: a user's, unless `anon:`, `email:` or `user:` leads."""
    return prefixed(text) or namespaced("user", text)


def named_as(namespaced_id: str) -> str:
    """The text by which `record_of` finds a record: a user's own id, unless that reads like a kind and an id."""
    own = namespaced_id.removeprefix("user:")
    return own if record_of(own) == namespaced_id else namespaced_id


def prefixed(text: str) -> str | None:
    """The record that a text with a kind before it names; None for a text without one."""
    kind, colon, value = text.partition(":")
    if not colon or not value.strip() or kind not in ID_KINDS:
        return None
    return namespaced("email", email_hash_of(value)) if kind == "email" else text


def email_hash_of(text: str) -> str:
    """The hash of an email as it is kept. It is hexadecimal, so its case means nothing."""
    return text.strip().lower()


def namespaced(kind: IdKind, value: str) -> str:
    """The id of a record: `user:alice`, `anon:5f3…`, `email:…`."""
    return f"{kind}:{value}"
