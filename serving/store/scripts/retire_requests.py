"""Taking back requests for rebuilds of single ids that were answered, and only as they were when the rebuild began.

A request is a count, not a mark: one that was made again while the rebuild ran has a higher count, and stays.

    KEYS  wanted
    ARGV  record key, count, record key, count …
    reply how many were taken back
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from serving.store import keys
from serving.store.requests import Argument, Command
from serving.store.scripts.script import Key, script


class RetireRequests(NamedTuple):
    """The KEYS and ARGV of the script; more arguments are the records and their counts."""

    wanted: Key


RETIRE_REQUESTS = script(
    RetireRequests,
    """
local retired = 0
for at = NAMED_ARGUMENTS + 1, #ARGV, 2 do
  local record, count = ARGV[at], ARGV[at + 1]
  if redis.call('HGET', wanted, record) == count then
    retired = retired + redis.call('HDEL', wanted, record)
  end
end
return retired
""",
)


def command(shard: int, counts: Mapping[str, int]) -> Command:
    """Takes back the requests of these ids, as far as their counts are still the same."""
    words: list[Argument] = []
    for namespaced_id, count in counts.items():
        words += (keys.record(shard, namespaced_id), count)
    return RETIRE_REQUESTS(RetireRequests(wanted=keys.wanted(shard)), more_arguments=words)
