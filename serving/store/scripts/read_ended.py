"""Reading when an id was deleted and when it was given up, last; also of a record that was purged (`lua_tombstones`).

KEYS  record
reply [tombstone or nil, last unlink or nil], as the record has them
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.store import keys, positions
from serving.store.requests import Command
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import Key, script


class ReadEnded(NamedTuple):
    """The KEYS and ARGV of the script."""

    record: Key


READ_ENDED = script(
    ReadEnded,
    GONE,
    """
local tombstone, unlinked = unpack(redis.call('HMGET', record, TOMBSTONE, UNLINKED))
return {tombstone or gone_tombstone(record) or false, unlinked}
""",
    uses_reserve=False,
)


class Ended(NamedTuple):
    """The receipts, in UTC ms, of an id's last delete and last unlink; -1 where it had none."""

    deleted_ms: int
    unlinked_ms: int


def command(shard: int, namespaced_id: str) -> Command:
    """Asks when an id was deleted and when it was given up, last."""
    return READ_ENDED(ReadEnded(record=keys.record(shard, namespaced_id)))


def read(reply: Sequence[bytes | None]) -> Ended:
    """The receipts of both."""
    deleted_ms, unlinked_ms = (-1 if data is None else positions.decode(data)[1] for data in reply)
    return Ended(deleted_ms, unlinked_ms)
