"""Who may do what: keys of three kinds, sent as Bearer.

A write key sends events, a read key asks for decisions, an admin key does everything. The first keys come from the
environment, else are made at random at the first start and kept in a file that only its owner reads; admins make more
(`serving.access.made_keys`). Of all of them only digests are held, compared in constant time, and none is ever logged.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

from serving.access.rates import Rates
from serving.refusals import Forbidden, Unauthenticated
from serving.settings import Settings

KeyKind: TypeAlias = Literal["write", "read", "admin"]
#: By so much of its digest a key is found; all of it is then compared in constant time.
_PREFIX_BYTES = 8
KEY_KINDS: tuple[KeyKind, ...] = ("write", "read", "admin")


@dataclass(frozen=True)
class Caller:
    """Whose key a request carries: the key's id, its kind, and the label that changes are signed with."""

    id: str
    kind: KeyKind
    label: str


class Keys:
    """The known keys by the SHA-256 of each: those of the configuration, and those that an admin made."""

    def __init__(self, configured: Mapping[bytes, Caller], per_second: float = 0) -> None:
        self.configured = dict(configured)
        self.rates = Rates(per_second)
        self._used: set[str] = set()
        self.know({})

    def know(self, made: Mapping[bytes, Caller]) -> None:
        """Takes the keys that admins made, all of them, in the place of those known so far."""
        known = {**made, **self.configured}
        self._known = {digest[:_PREFIX_BYTES]: (digest, caller) for digest, caller in known.items()}
        self.rates.keep(caller.id for caller in known.values())

    def take_used(self) -> set[str]:
        """The ids of keys used since this was asked last."""
        used, self._used = self._used, set()
        return used

    def caller(self, key: str) -> Caller | None:
        """Whose key this is, or None if it is not known."""
        digest = digest_of(key)
        found = self._known.get(digest[:_PREFIX_BYTES])
        if found is None or not hmac.compare_digest(digest, found[0]):
            return None
        self._used.add(found[1].id)
        return found[1]

    def require(self, authorization: str | None, query_key: str | None, needed: KeyKind) -> Caller:
        """The caller, when the request carries a key of the needed kind or an admin key.

        Raises `Unauthenticated` without a known key, `Forbidden` for one of another kind, `TooMany` for one that asks
        too often.
        """
        key = authorization.removeprefix("Bearer ").strip() if authorization is not None else query_key
        found = self.caller(key) if key else None
        if found is None:
            raise Unauthenticated("Valid API key required", {"remedy": "send the header Authorization: Bearer <key>"})
        if found.kind not in (needed, "admin"):
            raise Forbidden(
                f"{needed} permission required", {"kind": found.kind, "remedy": f"use a key of kind {needed}"}
            )
        self.rates.take(found.id)
        return found


def keys_of(raw: Mapping[KeyKind, str], per_second: float = 0) -> Keys:
    """The keys of the configuration, hashed, and how much each may ask for. Each is signed with its kind."""
    return Keys({digest_of(key): Caller(f"configured:{kind}", kind, kind) for kind, key in raw.items()}, per_second)


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return sha256(key.encode()).digest()


def made_key(kind: KeyKind) -> str:
    """A new key, 192 bits from the system's source of chance."""
    return f"{kind}_{secrets.token_urlsafe(24)}"


def raw_keys(settings: Settings) -> dict[KeyKind, str]:
    """The keys in plain text: from the environment where set, else from `keys.json` under home, made if absent.

    The file is created with mode 0600 before anything is in it, and by one process: another that comes at the same
    moment reads what the first one wrote.
    """
    given: dict[KeyKind, str] = {}
    for kind in KEY_KINDS:
        secret = getattr(settings, f"{kind}_key")
        if secret is not None and secret.get_secret_value():
            given[kind] = secret.get_secret_value()
    missing = [kind for kind in KEY_KINDS if kind not in given]
    return given | _kept_keys(settings.home / "keys.json", missing) if missing else given


def _kept_keys(path: Path, wanted: Iterable[KeyKind]) -> dict[KeyKind, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        made = {kind: made_key(kind) for kind in KEY_KINDS}
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file, indent=1)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its keys stand
        finally:
            draft.unlink()
    kept = json.loads(path.read_text())
    return {kind: kept[kind] for kind in wanted}
