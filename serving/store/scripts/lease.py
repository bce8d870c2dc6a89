"""One process at a time for one thing: a key that holds its token, for as long as it is renewed.

A lease spares work; it proves nothing. A holder that was paused may believe in it after it ran out, so what it does
must be safe without it (the drain's is: the lake refuses the second commit).

One that cannot wait for another to end asks to be next; who gives way then does not renew, once it is done.

    KEYS  lease, who is next
    ARGV  token, ttl in ms, "" | "next" | "gives way" | "joins"
    reply 1 it is yours | 0 it is another's
"""

from __future__ import annotations

from typing import Literal

from serving.store import keys
from serving.store.scripts.script import Command, Script

HELD = Script(
    """
local holder = redis.call('GET', KEYS[1])
local next = redis.call('GET', KEYS[2])
if (ARGV[3] == 'gives way' or ARGV[3] == 'joins') and next and next ~= ARGV[1] then
  if ARGV[3] == 'gives way' and holder == ARGV[1] then redis.call('DEL', KEYS[1]) end
  return 0
end
if ARGV[3] == 'next' then
  if next and next ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
)

RELEASED = Script(
    """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
)

#: The lease of who writes to the lake beside drain and worker: imports, exports, rebuilds as of a time. They share it.
WRITERS, SHARED = "writers", "shared"

#: How a lease is held: whatever others want; before others, as soon as it is free; unless another asked to be next, and
#: given back then; the same, but left to those who hold it with the same token.
Manner = Literal["", "next", "gives way", "joins"]


def held(name: str, token: str, ttl_ms: int, manner: Manner = "") -> Command:
    """Takes the lease, or renews it where the token holds it."""
    return HELD([keys.lease(name), keys.next_lease(name)], [token, ttl_ms, manner])


def released(name: str, token: str) -> Command:
    """Gives it back, if it is still this token's."""
    return RELEASED([keys.lease(name), keys.next_lease(name)], [token])
