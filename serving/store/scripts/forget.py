"""Forgetting old tombstones without a name (`lua_tombstones`): what they refused is no more.

KEYS  gone
ARGV  before (a receipt in ms: what was deleted earlier is forgotten)
reply how many were
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script


class Forget(NamedTuple):
    """The KEYS and ARGV of the script."""

    gone: Key
    before: int


FORGET = script(
    Forget,
    """
local forgotten = 0
local fields = redis.call('HGETALL', gone)
for at = 1, #fields, 2 do
  local digest, tombstone = fields[at], fields[at + 1]
  local _, received = struct.unpack('>I6I6', tombstone)
  if received < before then
    forgotten = forgotten + redis.call('HDEL', gone, digest)
  end
end
return forgotten
""",
)


def command(shard: int, before_ms: int) -> Command:
    """Drops the tombstones of deletes that are older."""
    return FORGET(Forget(gone=keys.gone(shard), before=before_ms))


def read(reply: Any) -> int:
    """How many were forgotten."""
    return int(reply)
