"""Adding to the numbers of a hash, which has a bound and runs out by itself.

It uses no reserve: while memory is full nothing is added (`serving.store.reserve`).

    KEYS  counts
    ARGV  ttl_s, fields_max, then field and number of each
    reply nothing. A field that is not there yet is left out once there are `fields_max`
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from serving.store.requests import Argument, Command
from serving.store.scripts.script import Key, script


class AddCounts(NamedTuple):
    """The KEYS and ARGV of the script; fields and numbers follow."""

    counts: Key
    ttl_s: int
    fields_max: int


ADD_COUNTS = script(
    AddCounts,
    """
local free = fields_max - redis.call('HLEN', counts)
for at = NAMED_ARGUMENTS + 1, #ARGV, 2 do
  if redis.call('HEXISTS', counts, ARGV[at]) == 1 then
    redis.call('HINCRBY', counts, ARGV[at], ARGV[at + 1])
  elseif free > 0 then
    redis.call('HINCRBY', counts, ARGV[at], ARGV[at + 1])
    free = free - 1
  end
end
redis.call('EXPIRE', counts, ttl_s)
""",
    uses_reserve=False,
)


def command(key: str, ttl_s: int, fields_max: int, counts: Mapping[str, int]) -> Command:
    """Adds to these fields."""
    words: list[Argument] = [word for pair in counts.items() for word in pair]
    return ADD_COUNTS(AddCounts(key, ttl_s, fields_max), more_arguments=words)
