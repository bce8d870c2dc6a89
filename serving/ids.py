"""Which record an event belongs to, which shard that record is in, and how an event id is remembered.

Ids are deterministic: whoever sees the same raw id, in whatever process, names the same record in the same shard.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal, NamedTuple, TypeAlias
from zlib import crc32

IdKind: TypeAlias = Literal["user", "anon", "email"]

ID_KINDS: tuple[IdKind, ...] = ("user", "anon", "email")

#: Bytes of an event id's hash. Two events of one raw id would have to meet in 64 bits to be taken for one.
EVENT_HASH_BYTES = 8

#: Fixed when a system is created: the shard is part of every key, of the log and of the lake's rows.
SHARDS_DEFAULT = 16


class RawId(NamedTuple):
    """An id as the app gave it, and what kind of id it is."""

    kind: IdKind
    value: str


def namespaced(kind: IdKind, value: str) -> str:
    """The id of a record: `user:alice`, `anon:5f3…`, `email:…`."""
    return f"{kind}:{value}"


def raw_id(namespaced_id: str) -> RawId:
    """The two halves of a namespaced id. Raises `ValueError` when it has no known kind."""
    kind, colon, value = namespaced_id.partition(":")
    if not colon or kind not in ID_KINDS:
        raise ValueError(f"{namespaced_id!r} is not one of {', '.join(f'{known}:…' for known in ID_KINDS)}")
    return RawId(kind, value)


def routed(user_id: str | None, anonymous_id: str | None) -> str:
    """The record of an event: of its user where it names one, else of its anonymous id. Raises without either."""
    if user_id:
        return namespaced("user", user_id)
    if anonymous_id:
        return namespaced("anon", anonymous_id)
    raise ValueError("an event needs a userId or an anonymousId")


def shard_of(namespaced_id: str, shards: int) -> int:
    """The shard of a record, in [0, shards)."""
    return crc32(namespaced_id.encode()) % shards


def event_hash(event_id: str) -> bytes:
    """What a record remembers an event id by."""
    return blake2b(event_id.encode(), digest_size=EVENT_HASH_BYTES).digest()
