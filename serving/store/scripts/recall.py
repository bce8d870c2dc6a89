"""Putting back tombstones without a name that the lake knows and Redis lost (`lua_tombstones`).

KEYS  gone
ARGV  per tombstone: digest of the id, seq and receipt of the delete
reply how many were new
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.store import keys, positions
from serving.store.requests import Argument, Command
from serving.store.scripts.script import Key, script


class Recall(NamedTuple):
    """The KEYS and ARGV of the script; more arguments are the tombstones."""

    gone: Key


RECALL = script(
    Recall,
    """
local added = 0
for at = NAMED_ARGUMENTS + 1, #ARGV, 2 do
  local digest, tombstone = ARGV[at], ARGV[at + 1]
  added = added + redis.call('HSETNX', gone, digest, tombstone)
end
return added
""",
)


def command(shard: int, tombstones: Sequence[tuple[str, int, int]]) -> Command:
    """Puts tombstones back, (digest, seq, receipt in ms)."""
    words: list[Argument] = []
    for digest, seq, received_ms in tombstones:
        words += (digest, positions.encode(seq, received_ms))
    return RECALL(Recall(gone=keys.gone(shard)), more_arguments=words)
