"""Who may do what: keys of three kinds, sent as Bearer.

A write key sends events, a read key asks for decisions, an admin key does everything. Keys come from the environment,
else are made at random at the first start and kept in a file that only its owner reads. They are compared in constant
time and never logged.
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

from serving.refusals import Forbidden, Unauthenticated
from serving.settings import Settings

KeyKind: TypeAlias = Literal["write", "read", "admin"]
KEY_KINDS: tuple[KeyKind, ...] = ("write", "read", "admin")


@dataclass(frozen=True)
class Keys:
    """The known keys, as SHA-256 digests by kind."""

    digests: Mapping[KeyKind, bytes]

    def kind(self, key: str) -> KeyKind | None:
        """The kind of a key, or None if it is not known. Looks at every one, whichever matches."""
        digest = sha256(key.encode()).digest()
        found: KeyKind | None = None
        for kind, known in self.digests.items():
            if hmac.compare_digest(digest, known):
                found = kind
        return found

    def require(self, authorization: str | None, query_key: str | None, needed: KeyKind) -> None:
        """Passes when the request carries a key of the needed kind or an admin key.

        Raises `Unauthenticated` without a known key, `Forbidden` for one of another kind.
        """
        key = authorization.removeprefix("Bearer ").strip() if authorization is not None else query_key
        kind = self.kind(key) if key else None
        if kind is None:
            raise Unauthenticated("Valid API key required", {"remedy": "send the header Authorization: Bearer <key>"})
        if kind not in (needed, "admin"):
            raise Forbidden(f"{needed} permission required", {"kind": kind, "remedy": f"use a key of kind {needed}"})


def keys_of(raw: Mapping[KeyKind, str]) -> Keys:
    """Keys by kind, hashed."""
    return Keys({kind: sha256(key.encode()).digest() for kind, key in raw.items()})


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
        made = {kind: f"{kind}_{secrets.token_urlsafe(24)}" for kind in KEY_KINDS}
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
