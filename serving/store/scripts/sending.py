"""What a refused event is sent again as, from before it is sent until the lake notes that it was.

Another event may take its place, under another id. So a call says first which one it sends, and whoever says another
one waits: also where the call was killed in between, or paused for however long. The same one may be sent at once, and
again: it counts once, by its id.

    KEYS  sending
    ARGV  event (a digest, always as long), token (of the call); to begin also ttl_ms
    reply of BEGIN 1 it is this event | 0 it is another one; of END nothing

A call ends what it began, unless another call of the same event began since: that one ends it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script

#: How long a call that was cut off keeps others from sending another event. Who knows what it was may send it at once.
SENDING_MS = 7 * 86_400_000
DIGEST_BYTES = 16


class Begin(NamedTuple):
    """The KEYS and ARGV of the script that says what is sent."""

    sending: Key
    event: bytes
    token: str
    ttl_ms: int


class End(NamedTuple):
    """The KEYS and ARGV of the script that says that it is noted, or was not sent."""

    sending: Key
    event: bytes
    token: str


BEGIN = script(
    Begin,
    """
local said = redis.call('GET', sending)
if said and string.sub(said, 1, #event) ~= event then return 0 end
redis.call('SET', sending, event .. token, 'PX', ttl_ms)
return 1
""",
    uses_reserve=False,
)

END = script(
    End,
    """
if redis.call('GET', sending) == event .. token then redis.call('DEL', sending) end
""",
)


def begin_command(refused_id: str, namespaced_id: str, event_id: str, token: str) -> Command:
    """Says that the refused event is sent as this event of this record, if no other one is said."""
    return BEGIN(Begin(keys.sending(refused_id), digest(namespaced_id, event_id), token, SENDING_MS))


def end_command(refused_id: str, namespaced_id: str, event_id: str, token: str) -> Command:
    """Takes that back."""
    return END(End(keys.sending(refused_id), digest(namespaced_id, event_id), token))


def digest(namespaced_id: str, event_id: str) -> bytes:
    """The event as it is kept: it names nobody, so that no purge has to find it."""
    return blake2b(f"{namespaced_id}\0{event_id}".encode(), digest_size=DIGEST_BYTES).digest()


def read(reply: Any) -> bool:
    """Whether it is this event."""
    return bool(reply)
