"""Tickets: the names of change streams, which stand in their addresses.

A browser's `EventSource` sends no key. So an answer to a key gives out an address with a ticket in it, which stands for
that key and the ids that were asked about. The ticket is an HMAC of them by the digest of the key. So it is the same at
every answer and in every process, nobody can guess it who has no such key, and it is of no use once the key is gone.

Redis keeps what a ticket stands for. It is renewed by every answer that gives the address out, and while a stream of it
is open.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Literal, TypeAlias

import msgspec

from serving.access.keys import Caller
from serving.access.rates import Rates
from serving.engine import Engine
from serving.ids import Ids
from serving.refusals import TooMany
from serving.store.deadlines import within
from serving.store.errors import StoreError

#: Which answers the messages are about: of each protocol the tags are its own.
Protocol: TypeAlias = Literal["decide", "ofrep"]

PATH = "/v1/stream/"
#: How long Redis keeps what a ticket stands for, and from which age on it is renewed.
TICKET_TTL_MS = 600_000
RENEWED_AFTER_MS = TICKET_TTL_MS // 2
#: New tickets of one key that a process keeps in a second, and the bytes of one, some 300 in Redis: a longer one counts
#: as several. An app's key is in its page: whoever asks with it about more and more people makes Redis keep 90 MB.
NEW_A_SECOND, NEW_BYTES = 500.0, 160
#: How long an answer waits for its address: without one it is good too.
ADDRESS_S = 0.5

_TICKET = re.compile(r"[0-9a-f]{32}")


class Subject(msgspec.Struct, frozen=True, array_like=True):
    """What a ticket stands for: the id of a key, the protocol, and the ids that were asked about."""

    key_id: str
    protocol: Protocol
    user: str | None
    anonymous: str | None
    email: str | None

    @property
    def ids(self) -> Ids:
        """The ids, as they were asked about."""
        return Ids(self.user, self.anonymous, self.email)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Subject).decode


def subject_of(text: bytes) -> Subject:
    """What a ticket stands for, as it was kept."""
    return _decode(text)


def ticket_of(subject: Subject, digest: bytes) -> str:
    """The ticket of a subject, whose key has this digest: 128 bits in hexadecimal."""
    return hmac.new(digest, _encode(subject), sha256).hexdigest()[:32]


def is_ticket(text: str) -> bool:
    """Whether a text may be a ticket: what is none is not looked for."""
    return _TICKET.fullmatch(text) is not None


@within(ADDRESS_S)
async def kept_ticket(engine: Engine, caller: Caller, protocol: Protocol, ids: Ids, new: Rates) -> str | None:
    """The ticket for a caller's question about these ids, kept from now on for half of `TICKET_TTL_MS` or longer.

    None where it cannot be kept: Redis is away, or has so little memory left that what nobody needs goes first; or the
    caller has asked about too many people (`new`).
    """
    digest = engine.keys.digest(caller.id)
    if digest is None:  # revoked at this very moment
        return None
    subject = Subject(caller.id, protocol, *ids)
    ticket, text = ticket_of(subject, digest), _encode(subject)
    store = engine.store
    try:
        left_ms = await store.ticket_ttl_ms(ticket)
        if left_ms < TICKET_TTL_MS - RENEWED_AFTER_MS:
            if not left_ms:
                new.take(caller.id, -(-len(text) // NEW_BYTES))
            if (await store.memory()).is_nearly_full:
                return None
            await store.keep_ticket(ticket, text, TICKET_TTL_MS)
    except (StoreError, TooMany):
        return None
    return ticket
