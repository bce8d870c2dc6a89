"""The number of a new build: the instant it began, in ms, or one more than the last build's where that is later.

A plain counter would start over in a Redis that was wiped or restored, and a run from before then would have a number
that the new ones do not reach: at the same lake version its bases would refuse theirs. The clock goes on.

    KEYS  rebuild
    reply the number
"""

from __future__ import annotations

from serving.store import keys
from serving.store.scripts.script import Command, Script

BEGUN = Script(
    """
local clock = redis.call('TIME')
local last = tonumber(redis.call('HGET', KEYS[1], 'build') or 0)
local build = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), last + 1)
redis.call('HSET', KEYS[1], 'build', string.format('%d', build))
return build
"""
)


def begun() -> Command:
    """Takes the next number."""
    return BEGUN([keys.rebuild()], [])
