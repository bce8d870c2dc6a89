"""One process at a time for one thing: a key that holds its token, for as long as it is renewed.

A lease spares work; it proves nothing. A holder that was paused may believe in it after it ran out, so what it does
must be safe without it (the drain's is: the lake refuses the second commit).

A process that cannot wait for another to end asks to be next; a holder that gives way then does not renew, once it is
done.

It runs out by the server's clock. Where that went back, a lease whose holder is gone would last until the clock is
there again. So whoever asks for one cuts it to what is left of a new one; a holder that is there renews it.

    KEYS  lease, following (who is next)
    ARGV  token; to hold it also ttl_ms, manner ("" | "next" | "gives way" | "joins")
    reply 1 it is yours, or you gave it back | 0 it is another's
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script

#: How a lease is held. "": whatever others want. "next": before others, as soon as it is free. "gives way": unless
#: another asked to be next; it is given back then. "joins": the same, but it is left to others of the same token.
Manner = Literal["", "next", "gives way", "joins"]

#: The lease of processes that write to the lake beside drain and worker: imports, exports, rebuilds as of a time. They
#: share it.
WRITERS, SHARED = "writers", "shared"


class Hold(NamedTuple):
    """The KEYS and ARGV of the script that takes or renews a lease."""

    lease: Key
    following: Key
    token: str
    ttl_ms: int
    manner: Manner


class Release(NamedTuple):
    """The KEYS and ARGV of the script that gives a lease back."""

    lease: Key
    following: Key
    token: str


HOLD = script(
    Hold,
    """
local function held_by(key)
  local holder = redis.call('GET', key)
  if holder and holder ~= token and redis.call('PTTL', key) > ttl_ms then redis.call('PEXPIRE', key, ttl_ms) end
  return holder
end

local holder, successor = held_by(lease), held_by(following)
if (manner == 'gives way' or manner == 'joins') and successor and successor ~= token then
  if manner == 'gives way' and holder == token then redis.call('DEL', lease) end
  return 0
end
if manner == 'next' then
  if successor and successor ~= token then return 0 end
  redis.call('SET', following, token, 'PX', ttl_ms)
end
if holder and holder ~= token then return 0 end
redis.call('SET', lease, token, 'PX', ttl_ms)
return 1
""",
)

RELEASE = script(
    Release,
    """
if redis.call('GET', following) == token then redis.call('DEL', following) end
if redis.call('GET', lease) ~= token then return 0 end
return redis.call('DEL', lease)
""",
)


def hold_command(name: str, token: str, ttl_ms: int, manner: Manner = "") -> Command:
    """Takes the lease, or renews it where the token holds it."""
    return HOLD(Hold(keys.lease(name), keys.next_lease(name), token, ttl_ms, manner))


def release_command(name: str, token: str) -> Command:
    """Gives the lease back, if it is still this token's."""
    return RELEASE(Release(keys.lease(name), keys.next_lease(name), token))


def read(reply: Any) -> bool:
    """Whether it was yours."""
    return bool(reply)
