"""Who may do what: keys of five kinds, sent as Bearer.

A write key sends events, a read key asks for decisions, a profile key also reads a user's traits, a viewer's key also
sees what admins see and changes nothing, an admin key does everything. The environment gives the first write, read and
admin keys. It may give several of a kind, so that one takes the place of another while apps send both. Those that it
does not give are made at random at the first start and kept in a file that only its owner reads. Admins make more
(`serving.access.made_keys`). A process holds digests of keys, compares them in constant time, and logs no key.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote_plus

from serving.access.rates import Rates
from serving.access.secret_files import secret_file
from serving.refusals import Forbidden, Unauthenticated, Unavailable
from serving.settings import Settings, WrongSettings, home_unusable, split_keys

KeyKind: TypeAlias = Literal["write", "read", "profile", "viewer", "admin"]
KEY_KINDS: tuple[KeyKind, ...] = ("write", "read", "profile", "viewer", "admin")


class Permission(NamedTuple):
    """What a call takes: a key of one of these kinds. `name` is what a refusal calls it."""

    name: str
    kinds: tuple[KeyKind, ...]


SEND = Permission("write", ("write", "admin"))
DECIDE = Permission("read", ("read", "profile", "viewer", "admin"))
KNOW = Permission("profile", ("profile", "viewer", "admin"))
VIEW = Permission("admin", ("viewer", "admin"))
ADMINISTER = Permission("admin", ("admin",))
#: No key is asked for.
OPEN = Permission("no", KEY_KINDS)

#: The kinds that applications hold. Viewers' and admin keys are people's, who look at everything and try flags out.
APPLICATION_KINDS: tuple[KeyKind, ...] = ("write", "read", "profile")

#: The kinds of which the configuration has keys.
CONFIGURED_KINDS: tuple[KeyKind, ...] = ("write", "read", "admin")
#: A key that is not known yet may be known after so many seconds.
RETRY_AFTER_S = 1
#: Characters of a header or a value that may be a key. What is longer is not looked at: anybody may send it.
KEY_CHARACTERS_MAX = 4_096
#: A key is found by so many bytes of its digest; the whole digest is then compared in constant time.
_PREFIX_BYTES = 8
#: Hexadecimal digits of a key's tag.
TAG_DIGITS = 12


@dataclass(frozen=True)
class Caller:
    """Whose key a request carries: the key's id, its kind, and the label that changes are signed with."""

    id: str
    kind: KeyKind
    label: str


class Tagged(NamedTuple):
    """A known key by its tag: its id and its digest."""

    id: str
    digest: bytes


class Keys:
    """The known keys by the SHA-256 of each: those of the configuration, and those that admins made.

    A process that starts knows the first alone. `are_all` says whether it learned all of the others once. Until then a
    key that it does not know may be good, and is refused as not known *yet*.

    Each has a rate; `shared` is the descriptor of the file in which the processes of an address count it together.
    """

    def __init__(self, configured: Mapping[bytes, Caller], per_second: float = 0, shared: int | None = None) -> None:
        self.configured = dict(configured)
        self._all_rates: list[Rates] = []
        self.rates = self.rates_of(per_second, shared)
        self.are_all = False
        self._used: set[str] = set()
        self._know({})

    def know(self, made: Mapping[bytes, Caller]) -> None:
        """Replaces the keys that admins made by these, which are all that are not revoked."""
        self.are_all = True
        self._know(made)

    def know_more(self, made: Mapping[bytes, Caller], revoked: Iterable[bytes]) -> None:
        """Adds keys that admins made and takes away the revoked ones, by digest; the other known keys stand."""
        self.are_all = False
        gone = set(revoked)
        self._know({digest: caller for digest, caller in {**self._made, **made}.items() if digest not in gone})

    def _know(self, made: Mapping[bytes, Caller]) -> None:
        self._made = dict(made)
        known = {**made, **self.configured}
        self._known = {digest[:_PREFIX_BYTES]: (digest, caller) for digest, caller in known.items()}
        self._digests = {caller.id: digest for digest, caller in known.items()}
        self._tagged = {tag_of(digest): Tagged(caller.id, digest) for digest, caller in known.items()}
        for rates in self._all_rates:
            rates.keep(self._digests)

    def rates_of(self, per_second: float, shared: int | None = None) -> Rates:
        """A rate that each key has beside others. Its bucket is forgotten with the key."""
        rates = Rates(per_second, shared=shared)
        self._all_rates.append(rates)
        return rates

    def take_used(self) -> set[str]:
        """The ids of the keys used since the call before."""
        used, self._used = self._used, set()
        return used

    def caller(self, key: str) -> Caller | None:
        """Whose key this is, or None if it is not known."""
        digest = digest_of(key)
        known = self._known.get(digest[:_PREFIX_BYTES])
        if known is None or not hmac.compare_digest(digest, known[0]):
            return None
        caller = known[1]
        self._used.add(caller.id)
        return caller

    def digest(self, key_id: str) -> bytes | None:
        """The digest of the key that has this id now; None where none has."""
        return self._digests.get(key_id)

    def tagged(self, tag: str) -> Tagged | None:
        """The key that has this tag (`tag_of`); None where none has it now."""
        return self._tagged.get(tag)

    def refuse_until_all_are_known(self) -> None:
        """Raises `Unavailable` while keys may exist that this process does not know."""
        if not self.are_all:
            remedy = "send the same request again after Retry-After"
            raise Unavailable("keys are being restored", {"field": "key", "remedy": remedy}, RETRY_AFTER_S)

    def admit(self, caller: Caller | None, needed: Permission) -> Caller:
        """The caller, whose key is of a kind that has the permission, and who has now asked once more.

        Raises `Unauthenticated` without a caller, `Forbidden` for a key of another kind, `TooMany` for one that asks
        too often.
        """
        if caller is None:
            raise no_key()
        if caller.kind not in needed.kinds:
            remedy = f"use a key of kind {' or '.join(needed.kinds)}"
            raise Forbidden(f"{needed.name} permission required", {"kind": caller.kind, "remedy": remedy})
        self.rates.take(caller.id)
        return caller


def no_key() -> Unauthenticated:
    """The refusal of a request without a known key."""
    return Unauthenticated("Valid API key required", {"remedy": "send the header Authorization: Bearer <key>"})


def sent_key(authorization: str | None, other: str | None) -> tuple[str, ...]:
    """The key that a request carries: in its header `Authorization`, or else in another place. Empty without one."""
    key = authorization.removeprefix("Bearer ").strip() if authorization is not None else other
    return (key,) if key and len(key) <= KEY_CHARACTERS_MAX else ()


#: A key among the parameters of a query.
_IN_QUERY = re.compile(rb"(?:^|&)apiKey=([^&]*)")


def key_in_query(query: bytes) -> str | None:
    """The parameter `apiKey` of a query as it was sent; of several the last. No other parameter is decoded for it."""
    keys = _IN_QUERY.findall(query)
    return unquote_plus(keys[-1].decode("latin-1")) if keys else None


def keys_of(configured: Mapping[KeyKind, Sequence[str]], per_second: float = 0, shared: int | None = None) -> Keys:
    """The keys of the configuration, hashed, each with this rate, which `Keys` may share with other processes.

    What a key changes is signed with its kind, and from the second of a kind on with its number: `admin-2`.
    """
    callers: dict[bytes, Caller] = {}
    for kind, keys in configured.items():
        for number, key in enumerate(keys, 1):
            label = kind if number == 1 else f"{kind}-{number}"
            callers.setdefault(digest_of(key), Caller(f"configured:{label}", kind, label))
    return Keys(callers, per_second, shared)


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key: all that is kept of it."""
    return sha256(key.encode()).digest()


def tag_of(digest: bytes) -> str:
    """The tag of a key, by its digest: it tells keys apart, and nothing of any of them."""
    return sha256(digest).hexdigest()[:TAG_DIGITS]


def new_key(kind: KeyKind) -> str:
    """A new key, 192 bits from the system's source of chance."""
    return f"{kind}_{secrets.token_urlsafe(24)}"


def raw_keys(settings: Settings) -> dict[KeyKind, str]:
    """A key of each kind in plain text, the first of those that are configured: what commands send.

    Raises `WrongSettings` as `configured_keys` does.
    """
    return {kind: keys[0] for kind, keys in configured_keys(settings).items()}


def configured_keys(settings: Settings) -> dict[KeyKind, list[str]]:
    """The keys in plain text: from the environment where set, else from `keys.json` under home, made if absent.

    Raises `WrongSettings` where they cannot be kept there.
    """
    given = {kind: keys for kind in CONFIGURED_KINDS if (keys := split_keys(getattr(settings, f"{kind}_key")))}
    missing = [kind for kind in CONFIGURED_KINDS if kind not in given]
    if not missing:
        return given
    path = settings.home / "keys.json"
    held: Any = None
    try:
        held = json.loads(secret_file(path, _new_keys))
    except OSError as error:
        raise home_unusable(settings.home, error) from None
    except ValueError:
        pass  # no JSON
    if not isinstance(held, dict) or not all(isinstance(held.get(kind), str) and held[kind] for kind in missing):
        raise WrongSettings(
            f"{path} does not hold the keys {', '.join(missing)} as JSON: bring it back from a backup, or remove it, "
            "and new keys are made"
        )
    return given | {kind: [held[kind]] for kind in missing}


def _new_keys() -> bytes:
    return json.dumps({kind: new_key(kind) for kind in CONFIGURED_KINDS}, indent=1).encode()
