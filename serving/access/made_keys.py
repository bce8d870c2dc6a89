"""Keys that admins make and revoke. Only digests are kept: in the lake for good, in Redis for every process to read.

A process knows of a change within `FOLLOWED_S`, the one that made it at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from serving.access.keys import KEY_KINDS, Caller, KeyKind, Keys, digest_of, made_key
from serving.history import History
from serving.refusals import Conflict, NotFound, TooMany, invalid
from serving.store.store import Store
from serving.times import rfc3339

#: How often a process looks for keys that another one made or revoked.
FOLLOWED_S = 1.0
#: Keys that are not revoked; each process holds all of them.
ALIVE_MAX = 1_000
LABEL_CHARS_MAX = 100


class ApiKey(msgspec.Struct, frozen=True):
    """A key as it is kept. `digest` is the SHA-256 of it in hex, times are UTC ms, `author` the label of its maker."""

    id: str
    kind: KeyKind
    label: str
    digest: str
    created_at: int
    author: str
    revoked_at: int | None = None


def create(store: Store, history: History, kind: str, label: str, author: str, now_ms: int) -> tuple[ApiKey, str]:
    """A new key, kept, and its text, which nobody can read again. Raises `Invalid`, `TooMany`, `Unavailable`."""
    if kind not in KEY_KINDS:
        raise invalid("kind", kind, "use write, read or admin", "Kind must be one of: write, read, admin")
    if len(label) > LABEL_CHARS_MAX:
        raise invalid("label", label, f"use at most {LABEL_CHARS_MAX} characters")
    if sum(one.revoked_at is None for one in made(store).values()) >= ALIVE_MAX:
        raise TooMany(f"{ALIVE_MAX} keys are in use", {"field": "kind", "remedy": "revoke those that nobody uses"}, 60)
    text = made_key(kind)
    key = ApiKey(secrets.token_hex(8), kind, label, digest_of(text).hex(), now_ms, author)
    _keep(store, history, key)
    return key, text


def revoke(store: Store, history: History, keys: Keys, key_id: str, now_ms: int) -> ApiKey:
    """Revokes a key for good. Raises `NotFound`, `Conflict` for one of the configuration, `Unavailable`."""
    if any(caller.id == key_id for caller in keys.configured.values()):
        raise Conflict(
            "this key is part of the configuration",
            {"field": "id", "value": key_id, "remedy": "change TINYCDP_…_KEY or keys.json and start again"},
        )
    held = made(store).get(key_id)
    if held is None:
        raise NotFound("Key not found", {"field": "id", "value": key_id})
    if held.revoked_at is None:
        held = msgspec.structs.replace(held, revoked_at=now_ms)
        _keep(store, history, held)
    return held


def made(store: Store) -> dict[str, ApiKey]:
    """All keys that admins made, revoked ones too, by id."""
    return decode(store.api_keys())


def restore(store: Store, history_rows: Iterable[Mapping[str, Any]]) -> None:
    """Puts into Redis what the lake knows of keys: one that was revoked stays so, whatever Redis has forgotten."""
    newest: dict[str, ApiKey] = {}
    for row in history_rows:
        one = msgspec.convert(dict(row), ApiKey)
        if one.id not in newest or one.revoked_at is not None:
            newest[one.id] = one
    store.put_api_keys({one.id: _encode(one) for one in newest.values()})


def callers(kept: Mapping[str, ApiKey]) -> dict[bytes, Caller]:
    """Those that are not revoked, by digest."""
    return {
        bytes.fromhex(one.digest): Caller(one.id, one.kind, one.label or one.id)
        for one in kept.values()
        if one.revoked_at is None
    }


def decode(texts: Mapping[str, bytes]) -> dict[str, ApiKey]:
    """Keys as Redis has them, by id."""
    return {key_id: msgspec.json.decode(text, type=ApiKey) for key_id, text in texts.items()}


def listed(keys: Keys, kept: Mapping[str, ApiKey], used_ms: Mapping[str, int]) -> list[dict[str, Any]]:
    """All keys as the wire shows them, those of the configuration first, then the newest first; never a digest."""
    rows: list[dict[str, Any]] = [
        {"id": caller.id, "kind": caller.kind, "label": caller.label, "author": "configuration"}
        for caller in keys.configured.values()
    ]
    for one in sorted(kept.values(), key=lambda one: (-one.created_at, one.id)):
        row = {"id": one.id, "kind": one.kind, "label": one.label, "author": one.author}
        rows.append(row | {"created_at": rfc3339(one.created_at), "revoked_at": _time(one.revoked_at)})
    return [
        {"created_at": None, "revoked_at": None} | row | {"last_used_at": _time(used_ms.get(row["id"]))} for row in rows
    ]


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _keep(store: Store, history: History, key: ApiKey) -> None:
    # The lake first: what it does not know would come back, or be forgotten, when Redis is restored.
    history.append_api_key(msgspec.to_builtins(key))
    store.put_api_keys({key.id: _encode(key)})


def _encode(key: ApiKey) -> bytes:
    return msgspec.json.encode(key)
