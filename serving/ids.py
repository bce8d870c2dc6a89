"""Which record an event belongs to, which shard that record is in, and how an event id is remembered.

Ids are deterministic: whoever sees the same raw id, in whatever process, names the same record in the same shard.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal, NamedTuple, TypeAlias
from zlib import crc32

from serving.refusals import invalid

IdKind: TypeAlias = Literal["user", "anon", "email"]

ID_KINDS: tuple[IdKind, ...] = ("user", "anon", "email")

ID_CHARACTERS_MAX = 256

#: Of ids sent as numbers, either way: what a client's 64-bit integer holds.
ID_NUMBER_MAX = 2**63

#: How requests name an id of each kind; the first that holds one counts.
USER_FIELDS = ("userId", "externalId")
ANONYMOUS_FIELDS = ("anonymousId", "deviceId")
EMAIL_FIELDS = ("emailHash",)

#: Bytes of an event id's hash. Two events of one raw id would have to meet in 64 bits to be taken for one.
EVENT_HASH_BYTES = 8

#: Fixed when a system is created: the shard is part of every key, of the log and of the lake's rows.
SHARDS_DEFAULT = 16


class RawId(NamedTuple):
    """An id as the app gave it, and what kind of id it is."""

    kind: IdKind
    value: str


class Ids(NamedTuple):
    """The ids that one request or event names; None where it names none of a kind."""

    user: str | None = None
    anonymous: str | None = None
    email: str | None = None

    @property
    def strongest_first(self) -> list[str]:
        """The namespaced ids: the user's, the email hash's, the anonymous one, as far as they are there.

        The first says who it is about; it owns the others (`serving.people.links`).
        """
        named: tuple[tuple[IdKind, str | None], ...] = (
            ("user", self.user),
            ("email", self.email),
            ("anon", self.anonymous),
        )
        return [namespaced(kind, value) for kind, value in named if value is not None]


def ids_in(raw: Mapping[str, Any]) -> Ids:
    """Every id that a request or an event names, whichever kind it is. Raises `Invalid`, which names the field."""
    email = identifier(raw, *EMAIL_FIELDS)
    return Ids(
        identifier(raw, *USER_FIELDS),
        identifier(raw, *ANONYMOUS_FIELDS),
        None if email is None else email_hash_of(email),
    )


def identifier(raw: Mapping[str, Any], *fields: str) -> str | None:
    """The first of these fields that holds an id; numbers become text, blanks are none.

    Raises `Invalid` for any of them that holds what is no id.
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
    """A number sent as an id, as JavaScript writes it: 42, not 42.0. Raises `Invalid`."""
    if abs(number) > ID_NUMBER_MAX:
        raise invalid(name, number, "send so large a number as a string")
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def require_text(name: str, text: str) -> None:
    """Text that has no UTF-8 form (lone surrogates) cannot be stored; nor can it come from valid JSON."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise invalid(name, text, "send valid Unicode") from None


def record_of(text: str) -> str:
    """The record that an id means where only one can be given: a user's, or what `anon:`, `email:`, `user:` says."""
    return prefixed(text) or namespaced("user", text)


def named_as(namespaced_id: str) -> str:
    """The text by which `record_of` finds a record: a user's own id, unless that reads like a kind and an id."""
    own = namespaced_id.removeprefix("user:")
    return own if record_of(own) == namespaced_id else namespaced_id


def prefixed(text: str) -> str | None:
    """The record that a text names whose kind stands before it; None where none does."""
    kind, colon, value = text.partition(":")
    if not colon or not value.strip() or kind not in ID_KINDS:
        return None
    return namespaced("email", email_hash_of(value)) if kind == "email" else text


def email_hash_of(text: str) -> str:
    """An email's hash as it is kept: it is hexadecimal, so its case says nothing."""
    return text.strip().lower()


def namespaced(kind: IdKind, value: str) -> str:
    """The id of a record: `user:alice`, `anon:5f3…`, `email:…`."""
    return f"{kind}:{value}"


def raw_id(namespaced_id: str) -> RawId:
    """The two halves of a namespaced id. Raises `ValueError` when it has no known kind."""
    kind, colon, value = namespaced_id.partition(":")
    if not colon or kind not in ID_KINDS:
        raise ValueError(f"{namespaced_id!r} is not one of {', '.join(f'{known}:…' for known in ID_KINDS)}")
    return RawId(kind, value)


def routed(user_id: str | None, anonymous_id: str | None, email_hash: str | None = None) -> str:
    """The record of an event: of its user where it names one, else of its anonymous id, else of its email hash.

    Raises without any.
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
    """What a record remembers an event id by."""
    return blake2b(event_id.encode(), digest_size=EVENT_HASH_BYTES).digest()
