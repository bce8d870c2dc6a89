"""Raising numbers that must never go back: seq, last receipt, drained, projection, build, answered requests.

KEYS  numbers (a hash)
ARGV  field, value, field, value …
reply the fields' values now, then the hash's seq (of a shard: where its log stood at that moment)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from serving.store.requests import Argument, Command
from serving.store.scripts.script import Key, script


class RaiseNumbers(NamedTuple):
    """The KEYS and ARGV of the script; more arguments are the fields and their values."""

    numbers: Key


RAISE_NUMBERS = script(
    RaiseNumbers,
    """
local answers = {}
for at = NAMED_ARGUMENTS + 1, #ARGV, 2 do
  local field, value = ARGV[at], ARGV[at + 1]
  local number = tonumber(redis.call('HGET', numbers, field) or 0)
  if tonumber(value) > number then
    number = tonumber(value)
    redis.call('HSET', numbers, field, value)
  end
  answers[#answers + 1] = number
end
answers[#answers + 1] = tonumber(redis.call('HGET', numbers, SEQ) or 0)
return answers
""",
)


def command(key: str, values: Mapping[str, int]) -> Command:
    """Raises each field of the hash to at least its value."""
    words: list[Argument] = []
    for field, value in values.items():
        words += (field, value)
    return RAISE_NUMBERS(RaiseNumbers(numbers=key), more_arguments=words)


def read(reply: Any) -> int:
    """The seq of the hash at that moment."""
    return int(reply[-1])
