"""Ids: which record an id or an event belongs to, which shard a record is in, and the hash of an event id.

A raw id is what an app sends. A namespaced id, `user:alice`, names a record. All of this is deterministic: every
process gives the same raw id the same record in the same shard.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, NamedTuple
from zlib import crc32

from expressions.rules.ids import (
    ID_KINDS,
    IdKind,
    email_hash_of,
    namespaced,
    prefixed,
    record_of,
)
from expressions.rules.ids import named_as as named_as  # all of serving asks this file about ids
from serving.refusals import invalid

#: Characters of an id as an app sends it. With its kind before it, as answers name it, it is longer.
ID_CHARACTERS_MAX = 256
#: Characters of an email's hash as it is kept: a few letters are longer in lower case.
EMAIL_CHARACTERS_MAX = 2 * ID_CHARACTERS_MAX

#: The greatest id that may be sent as a number, either way: a client's 64-bit integers end there.
ID_NUMBER_MAX = 2**63

#: The fields of a request that name an id, by its kind. The first that holds one counts.
USER_FIELDS = ("userId", "externalId")
ANONYMOUS_FIELDS = ("anonymousId", "deviceId")
EMAIL_FIELDS = ("emailHash",)

#: Bytes of an event id's hash. Two events of one record are taken for one only if their ids meet in all 64 bits.
EVENT_HASH_BYTES = 8

#: Fixed when a system is created: the shard is part of every key, of the log and of the lake's rows.
SHARDS_DEFAULT = 16


class RawId(NamedTuple):
    """An id as the app gave it, and its kind."""

    kind: IdKind
    value: str


class Ids(NamedTuple):
    """The ids that one request or event names; None where it names none of a kind."""

    user: str | None = None
    anonymous: str | None = None
    email: str | None = None

    @property
    def strongest_first(self) -> list[str]:
        """The namespaced ids that are there: the user's, the email hash's, the anonymous one, in this order.

        The first is the one that a request is about. It owns the others (`serving.people.links`).
        """
        named: tuple[tuple[IdKind, str | None], ...] = (
            ("user", self.user),
            ("email", self.email),
            ("anon", self.anonymous),
        )
        return [namespaced(kind, value) for kind, value in named if value is not None]


def ids_in(raw: Mapping[str, Any]) -> Ids:
    """The ids that a request or an event names, one of each kind. Raises `Invalid`, which names the field."""
    email = identifier(raw, *EMAIL_FIELDS)
    return Ids(
        identifier(raw, *USER_FIELDS),
        identifier(raw, *ANONYMOUS_FIELDS),
        None if email is None else email_hash_of(email),
    )


def identifier(raw: Mapping[str, Any], *fields: str) -> str | None:
    """The id in the first of these fields that has one. A number becomes text; a blank is no id.

    Raises `Invalid` for a field that holds anything else.
    """
    first: str | None = None
    for name in fields:
        value = raw.get(name)
        if value is None or value == "":
            continue
        if type(value) is str:
            text = value
        elif isinstance(value, bool) or not isinstance(value, (int, float)):
            raise invalid(name, value, "send a string")
        else:
            text = digits(name, value)
        if len(text) > ID_CHARACTERS_MAX:
            raise invalid(name, text, f"send at most {ID_CHARACTERS_MAX} characters")
        if not text.strip():
            continue
        require_text(name, text)
        first = first or text
    return first


def digits(name: str, number: float) -> str:
    """A number that was sent as an id, as JavaScript writes it: 42, not 42.0. Raises `Invalid` beyond 2^63."""
    if abs(number) > ID_NUMBER_MAX:
        raise invalid(name, number, "send so large a number as a string")
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def require_text(name: str, text: str) -> None:
    """Raises `Invalid` for text without a UTF-8 form (lone surrogates): no valid JSON has it, and nothing can store it.

    `name` is the field that the refusal names.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(name, text, "send valid Unicode") from None


def checked_record(name: str, text: str) -> str:
    """The record that a text means, as `record_of` says. Raises `Invalid`, which names the field, for what is no id.

    A kind before an id counts for nothing in its length: else the longest ids could be sent, and not be asked for.
    """
    kind, _, value = text.partition(":")
    is_named = prefixed(text) is not None
    longest = ID_CHARACTERS_MAX if not is_named or kind != "email" else EMAIL_CHARACTERS_MAX
    if not text.strip() or len(value if is_named else text) > longest:
        raise invalid(name, text, f"send an id of 1 to {ID_CHARACTERS_MAX} characters, as ada or anon:5f3a")
    require_text(name, text)
    return record_of(text)


def raw_id(namespaced_id: str) -> RawId:
    """The kind and the raw id in a namespaced id. Raises `ValueError` when it has no known kind."""
    kind, colon, value = namespaced_id.partition(":")
    if not colon or kind not in ID_KINDS:
        raise ValueError(f"{namespaced_id!r} is not one of {', '.join(f'{known}:…' for known in ID_KINDS)}")
    return RawId(kind, value)


def routed(user_id: str | None, anonymous_id: str | None, email_hash: str | None = None) -> str:
    """The record of an event: of its user where it names one, else of its anonymous id, else of its email hash.

    Raises `ValueError` where it names none.
    """
    if user_id:
        return namespaced("user", user_id)
    if anonymous_id:
        return namespaced("anon", anonymous_id)
    if email_hash:
        return namespaced("email", email_hash)
    raise ValueError("an event needs a userId, an anonymousId or an emailHash")


def shard_of(namespaced_id: str, shards: int) -> int:
    """The shard of a record, in [0, shards)."""
    return crc32(namespaced_id.encode()) % shards


def event_hash(event_id: str) -> bytes:
    """The hash by which a record remembers an event id."""
    return blake2b(event_id.encode(), digest_size=EVENT_HASH_BYTES).digest()
