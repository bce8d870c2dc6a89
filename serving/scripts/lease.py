"""One process at a time for one thing: a key that holds its token, for as long as it is renewed.

A lease spares work; it proves nothing. A holder that was paused may believe in it after it ran out, so what it does
must be safe without it (the drain's is: the lake refuses the second commit).

    KEYS  lease
    ARGV  token, ttl in ms
    reply 1 it is yours | 0 it is another's
"""

from __future__ import annotations

from serving import keys
from serving.scripts.script import Command, Script

HELD = Script(
    """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

RELEASED = Script(
    """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
)


def held(name: str, token: str, ttl_ms: int) -> Command:
    """Takes the lease, or renews it where the token holds it."""
    return HELD([keys.lease(name)], [token, ttl_ms])


def released(name: str, token: str) -> Command:
    """Gives it back, if it is still this token's."""
    return RELEASED([keys.lease(name)], [token])
