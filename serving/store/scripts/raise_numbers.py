"""Raising numbers that must never go back: seq, last receipt, drained, projection, build, answered requests.

KEYS  a hash
ARGV  field, value, field, value …
reply the fields' values now, then `seq`'s (of a shard: where its log stood at that moment)
"""

from __future__ import annotations

from collections.abc import Mapping

from serving.store.scripts.script import Argument, Command, Script

RAISED = Script(
    """
local answers = {}
for i = 1, #ARGV, 2 do
  local held = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0)
  if tonumber(ARGV[i + 1]) > held then
    held = tonumber(ARGV[i + 1])
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  end
  answers[#answers + 1] = held
end
answers[#answers + 1] = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
return answers
"""
)


def raised(key: str, values: Mapping[str, int]) -> Command:
    """Raises each field to at least its value."""
    words: list[Argument] = []
    for field, value in values.items():
        words += (field, value)
    return RAISED([key], words)
