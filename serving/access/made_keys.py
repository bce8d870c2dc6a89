"""Keys that admins make and revoke. Only digests are kept: in the lake for good, in Redis for every process to read.

The process that makes a change knows of it at once. Every other one learns of a revoked key within `FOLLOWED_S`, and of
a new one when it is first sent. While Redis is away or being restored, what a process knows stands.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from unicodedata import category

import msgspec

from serving.access.keys import KEY_KINDS, RETRY_AFTER_S, Caller, KeyKind, Keys, digest_of, new_key
from serving.history import History
from serving.refusals import Conflict, NotFound, TooMany, Unavailable, invalid
from serving.store.operations.api_keys import KeyTexts
from serving.store.store import Store
from serving.times import rfc3339

#: How often a process looks for keys that another one made or revoked.
FOLLOWED_S = 1.0
#: Keys that are not revoked, at the most: each process holds all of them.
ALIVE_MAX = 1_000
LABEL_CHARS_MAX = 100
#: Unicode's categories of what ends a line or steers a terminal.
_CONTROLS = frozenset(("Cc", "Zl", "Zp"))


class ApiKey(msgspec.Struct, frozen=True):
    """A key as it is kept. `digest` is its SHA-256 in hex, `author` the label of its maker; times are UTC ms."""

    id: str
    kind: KeyKind
    label: str
    digest: str
    created_at: int
    author: str
    revoked_at: int | None = None


def create(store: Store, history: History, kind: str, label: str, author: str, now_ms: int) -> tuple[ApiKey, str]:
    """A new key as it is kept, and its text, which nobody can read again.

    Raises `Invalid`, `TooMany`, `Unavailable`.
    """
    if kind not in KEY_KINDS:
        kinds = ", ".join(KEY_KINDS)
        raise invalid("kind", kind, f"use one of {kinds}", f"Kind must be one of: {kinds}")
    if len(label) > LABEL_CHARS_MAX:
        raise invalid("label", label, f"use at most {LABEL_CHARS_MAX} characters")
    if any(category(character) in _CONTROLS for character in label):
        raise invalid("label", label, "use no control characters and no ends of lines")
    if sum(key.revoked_at is None for key in made(store).values()) >= ALIVE_MAX:
        raise TooMany(f"{ALIVE_MAX} keys are in use", {"field": "kind", "remedy": "revoke those that nobody uses"}, 60)
    text = new_key(kind)
    key = ApiKey(secrets.token_hex(8), kind, label, digest_of(text).hex(), now_ms, author)
    _keep(store, history, key)
    return key, text


def revoke(store: Store, history: History, keys: Keys, key_id: str, now_ms: int) -> ApiKey:
    """The key, revoked for good. Raises `NotFound`, `Unavailable`, and `Conflict` for a key of the configuration."""
    if any(caller.id == key_id for caller in keys.configured.values()):
        raise Conflict(
            "this key is part of the configuration",
            {"field": "id", "value": key_id, "remedy": "change TINYCDP_…_KEY or keys.json and start again"},
        )
    key = made(store).get(key_id)
    if key is None:
        raise NotFound("Key not found", {"field": "id", "value": key_id})
    if key.revoked_at is None:
        key = msgspec.structs.replace(key, revoked_at=now_ms)
        _keep(store, history, key)
    return key


def made(store: Store) -> dict[str, ApiKey]:
    """All keys that admins made, revoked ones too, by id. Raises `Unavailable` until Redis has all of them."""
    texts = store.api_keys()
    if not texts.are_all:
        raise Unavailable("keys are being restored", {"remedy": "try again"}, RETRY_AFTER_S)
    return _decode(texts.by_id) | _decode(store.revoked_api_keys())


def restore(store: Store, history_rows: Iterable[Mapping[str, Any]]) -> None:
    """Puts the lake's keys into Redis. A key that was revoked stays revoked, whatever Redis has forgotten."""
    newest: dict[str, ApiKey] = {}
    for row in history_rows:
        key = msgspec.convert(dict(row), ApiKey)
        if key.id not in newest or key.revoked_at is not None:
            newest[key.id] = key
    _put(store, newest.values())


def learn(keys: Keys, texts: KeyTexts, revoked: Mapping[str, bytes]) -> None:
    """Lets a process know the keys that Redis has. Where Redis lacks some, none is forgotten but those of `revoked`."""
    made_keys = [*_decode(texts.by_id).values(), *_decode(revoked).values()]
    alive = {
        bytes.fromhex(key.digest): Caller(key.id, key.kind, key.label or key.id)
        for key in made_keys
        if key.revoked_at is None
    }
    if texts.are_all:
        keys.know(alive)
    else:
        keys.know_more(alive, [bytes.fromhex(key.digest) for key in made_keys if key.revoked_at is not None])


def _decode(texts: Mapping[str, bytes]) -> dict[str, ApiKey]:
    return {key_id: msgspec.json.decode(text, type=ApiKey) for key_id, text in texts.items()}


def listed(keys: Keys, made_by_id: Mapping[str, ApiKey], used_ms: Mapping[str, int]) -> list[dict[str, Any]]:
    """All keys as the wire shows them, without digests: those of the configuration, then those made, newest first.

    `used_ms` is when each was used last, by id.
    """
    rows: list[dict[str, Any]] = [
        {"id": caller.id, "kind": caller.kind, "label": caller.label, "author": "configuration"}
        for caller in keys.configured.values()
    ]
    for key in sorted(made_by_id.values(), key=lambda key: (-key.created_at, key.id)):
        row = {"id": key.id, "kind": key.kind, "label": key.label, "author": key.author}
        rows.append(row | {"created_at": rfc3339(key.created_at), "revoked_at": _time(key.revoked_at)})
    return [
        {"created_at": None, "revoked_at": None} | row | {"last_used_at": _time(used_ms.get(row["id"]))} for row in rows
    ]


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _keep(store: Store, history: History, key: ApiKey) -> None:
    # The lake first. When Redis is restored from it, a revoked key that it did not know of would come back, and a new
    # one be forgotten.
    history.append_api_key(msgspec.to_builtins(key))
    _put(store, [key])


def _put(store: Store, made_keys: Iterable[ApiKey]) -> None:
    alive: dict[str, bytes] = {}
    revoked: dict[str, bytes] = {}
    for key in made_keys:
        (alive if key.revoked_at is None else revoked)[key.id] = msgspec.json.encode(key)
    store.put_api_keys(alive, revoked)
