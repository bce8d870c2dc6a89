"""Reading what ties an id to others: its owner, its list, and when it was deleted and given up, last.

A delete is found too where its record was purged (`lua_tombstones`).

KEYS  record
reply [owner field, members field, tombstone, last unlink], each as the record has it, or nil
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.store import keys, positions
from serving.store.requests import Command
from serving.store.scripts.claim import Owner, owner_of
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.members import members_of
from serving.store.scripts.script import Key, script


class ReadTies(NamedTuple):
    """The KEYS and ARGV of the script."""

    record: Key


READ_TIES = script(
    ReadTies,
    GONE,
    """
local owner, members, tombstone, unlinked = unpack(redis.call('HMGET', record, OWNER, MEMBERS, TOMBSTONE, UNLINKED))
return {owner, members, tombstone or gone_tombstone(record) or false, unlinked}
""",
    uses_reserve=False,
)


class Ties(NamedTuple):
    """What ties an id to others: its owner, the ids that it lists, and the receipts of its last delete and unlink.

    Receipts are UTC ms, -1 where there was none; the seq of the delete is 0 then.
    """

    owner: Owner | None
    members: tuple[str, ...]
    deleted_ms: int
    unlinked_ms: int
    deleted_seq: int = 0


def command(shard: int, namespaced_id: str) -> Command:
    """Asks what ties an id to others."""
    return READ_TIES(ReadTies(record=keys.record(shard, namespaced_id)))


def read(reply: Sequence[bytes | None]) -> Ties:
    """What the record says."""
    owner, members, *ended = reply
    deleted, unlinked = ((0, -1) if data is None else positions.decode(data) for data in ended)
    return Ties(owner_of(owner), members_of(members), deleted[1], unlinked[1], deleted[0])
