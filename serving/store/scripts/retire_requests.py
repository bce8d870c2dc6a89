"""Taking back requests for rebuilds of single ids that were answered, and only as they were when the rebuild began.

A request is a count, not a mark: one that was made again while the rebuild ran has a higher count, and stays.

    KEYS  wanted
    ARGV  record key, count, record key, count …
    reply how many were taken back
"""

from __future__ import annotations

from collections.abc import Mapping

from serving.store import keys
from serving.store.scripts.script import Argument, Command, Script

ANSWERED = Script(
    """
local taken = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    taken = taken + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return taken
"""
)


def answered(shard: int, counts: Mapping[str, int]) -> Command:
    """Takes back the requests of these ids, as far as their counts are still the same."""
    words: list[Argument] = []
    for namespaced_id, count in counts.items():
        words += (keys.record(shard, namespaced_id), count)
    return ANSWERED([keys.wanted(shard)], words)
