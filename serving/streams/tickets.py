"""Tickets: what the address of a change stream holds instead of a key and ids.

A browser's `EventSource` sends no key. So an answer to a key gives out an address with a ticket in it, which stands for
that key and the ids that were asked about:

    ticket   tag of the key (12)   HMAC of key, protocol and ids (32)   check (8)      hexadecimal digits

Both HMACs are by the digest of the key. So a ticket is the same at every answer and in every process, nobody can guess
it who has no such key, and it is of no use once the key is gone. By tag and check a process knows a ticket that nobody
gave out without asking Redis.

Redis keeps what a ticket stands for, under a hash of the ticket and sealed by it: who has no such address finds no id
there. It is renewed by every answer that gives the address out, and while a stream of it is open.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256, shake_256
from typing import Literal, TypeAlias

import msgspec

from serving.access.keys import TAG_DIGITS, Caller, tag_of
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

#: Hexadecimal digits of a ticket: of what it stands for, and of its check.
_MEANING_DIGITS, _CHECK_DIGITS = 32, 8
_TICKET = re.compile(rf"[0-9a-f]{{{TAG_DIGITS + _MEANING_DIGITS + _CHECK_DIGITS}}}")


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


def ticket_of(subject: Subject, digest: bytes) -> str:
    """The ticket of a subject, whose key has this digest."""
    unchecked = tag_of(digest) + hmac.new(digest, _encode(subject), sha256).hexdigest()[:_MEANING_DIGITS]
    return unchecked + _check(unchecked, digest)


def _check(unchecked: str, digest: bytes) -> str:
    return hmac.new(digest, unchecked.encode(), sha256).hexdigest()[:_CHECK_DIGITS]


def tag_in(text: str) -> str | None:
    """The tag of the key that a ticket names; None where the text can be no ticket."""
    return text[:TAG_DIGITS] if _TICKET.fullmatch(text) else None


def is_by(ticket: str, digest: bytes) -> bool:
    """Whether a ticket was made by the key with this digest, as its check says."""
    unchecked, check = ticket[:-_CHECK_DIGITS], ticket[-_CHECK_DIGITS:]
    return hmac.compare_digest(_check(unchecked, digest), check)


# ── what Redis keeps ─────────────────────────────────────────────────────────────────────────────────────────────────


def name_of(ticket: str) -> str:
    """The name under which Redis keeps what a ticket stands for. The ticket cannot be told from it."""
    return sha256(b"name" + ticket.encode()).hexdigest()[:_MEANING_DIGITS]


def sealed(subject: Subject, ticket: str) -> bytes:
    """A subject as Redis keeps it: only who has the ticket can read it."""
    return _with_pad(_encode(subject), ticket)


def subject_in(seal: bytes, ticket: str) -> Subject:
    """The subject that was sealed by a ticket."""
    return _decode(_with_pad(seal, ticket))


def _with_pad(text: bytes, ticket: str) -> bytes:
    """A text with bytes laid over it that only the ticket gives, or without them: a ticket seals one text alone."""
    pad = shake_256(b"seal" + ticket.encode()).digest(len(text))
    return (int.from_bytes(text, "big") ^ int.from_bytes(pad, "big")).to_bytes(len(text), "big")


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
    ticket, store = ticket_of(subject, digest), engine.store
    name, seal = name_of(ticket), sealed(subject, ticket)
    try:
        left_ms = await store.ticket_ttl_ms(name)
        if left_ms < TICKET_TTL_MS - RENEWED_AFTER_MS:
            if not left_ms:
                new.take(caller.id, -(-len(seal) // NEW_BYTES))
            if (await store.memory()).is_nearly_full:
                return None
            await store.keep_ticket(name, seal, TICKET_TTL_MS)
    except (StoreError, TooMany):
        return None
    return ticket
