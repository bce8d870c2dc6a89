"""Addresses that open for a while to whoever has them: a name and an expiry, and an HMAC over both.

The secret is made at the first need and kept under home, the owner's alone (mode 0600). Removing it, and starting the
API again, closes every address that was given out.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path

from serving.refusals import Forbidden

SECRET_BYTES = 32


class Signer:
    """Signs names and checks signatures, with the secret of one home."""

    def __init__(self, home: Path) -> None:
        self._path = home / "signing.key"
        self._held: bytes | None = None

    def signature(self, name: str, expires_s: int) -> str:
        """What opens a name until an instant, in Unix seconds."""
        return hmac.new(self._secret(), f"{expires_s}\n{name}".encode(), sha256).hexdigest()

    def require(self, name: str, expires_s: int, signature: str, now_s: float) -> None:
        """Raises `Forbidden` for a signature that is not of this name, instant and secret, and after the instant."""
        expected = self.signature(name, expires_s).encode()
        if not hmac.compare_digest(expected, signature.encode(errors="replace")):
            raise Forbidden("this address is not one that was given out", {"remedy": "ask for the export again"})
        if now_s >= expires_s:
            raise Forbidden("this address has expired", {"remedy": "ask for the export, or the list, again"})

    def _secret(self) -> bytes:
        if self._held is None:
            self._held = kept_secret(self._path)
        return self._held


def kept_secret(path: Path) -> bytes:
    """The secret in a file, made if absent; of two processes that make it at once, the first one's stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            draft.unlink()
    return path.read_bytes()
