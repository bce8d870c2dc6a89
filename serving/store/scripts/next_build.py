"""The number of a new build: the instant it began, in ms, or one more than the last build's where that is later.

A plain counter would start over in a Redis that was wiped or restored, and a run from before then would have a number
that the new ones do not reach: at the same lake version its bases would refuse theirs. The clock goes on.

    KEYS  rebuild
    reply the number
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.lua_log import CLOCK
from serving.store.scripts.script import Key, script


class NextBuild(NamedTuple):
    """The KEYS and ARGV of the script."""

    rebuild: Key


NEXT_BUILD = script(
    NextBuild,
    CLOCK,
    """
local last = tonumber(redis.call('HGET', rebuild, BUILD) or 0)
local build = math.max(clock_ms(), last + 1)
redis.call('HSET', rebuild, BUILD, string.format('%d', build))
return build
""",
)


def command() -> Command:
    """Takes the next number."""
    return NEXT_BUILD(NextBuild(rebuild=keys.rebuild()))


def read(reply: Any) -> int:
    """The number."""
    return int(reply)
