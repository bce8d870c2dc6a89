"""Writing a long `recent` beside its record, a piece a call, before `publish` gives it its place.

Each call is short, and between two of them Redis does the work of others. The first piece begins the list anew, so
what a try before left is gone. A piece is written where it belongs, so it may come twice. One before which others are
missing is refused.

    KEYS  record
    ARGV  version (V), build, at (bytes before this piece), piece
    reply 1 | 0: pieces before it are gone
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.errors import ServerReplaced
from serving.store.layout import in_order
from serving.store.requests import Command
from serving.store.scripts.lua_staged import STAGED
from serving.store.scripts.publish import BaseRecord
from serving.store.scripts.script import Key, script
from serving.store.stamps import Stamp

#: Bytes of one call. Redis reads, writes and syncs them within a millisecond or so.
PIECE_BYTES = 64 * 1024


class Stage(NamedTuple):
    """The KEYS and ARGV of the script."""

    record: Key
    version: int
    build: int
    at: int
    piece: bytes


STAGE = script(
    Stage,
    STAGED,
    """
local staged = staged_key(record, version, build)
if at == 0 then
  redis.call('SET', staged, piece, 'PX', STAGED_TTL_MS)
  return 1
end
if redis.call('STRLEN', staged) < at then return 0 end
redis.call('SETRANGE', staged, at, piece)
redis.call('PEXPIRE', staged, STAGED_TTL_MS)
return 1
""",
)


def commands(shard: int, stamp: Stamp, record: BaseRecord) -> Iterator[Command]:
    """The calls for one id, in their order."""
    recent = in_order(record.recent)
    key = keys.record(shard, record.id)
    for at in range(0, len(recent), PIECE_BYTES):
        yield STAGE(Stage(key, stamp.lake_version, stamp.build, at, recent[at : at + PIECE_BYTES]))


def read(reply: Any) -> None:
    """Raises `ServerReplaced` where pieces are gone."""
    if not reply:
        raise ServerReplaced("what was written in pieces for a record is gone from Redis")
