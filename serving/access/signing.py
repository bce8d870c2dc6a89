"""Addresses that open for a while to whoever has them: a name and an expiry, and an HMAC over both.

The secret is made at the first need and kept under home, readable by its owner alone. Removing the file and starting
the API again closes every address that was given out.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from pathlib import Path

from serving.access.secret_files import secret_file
from serving.refusals import Forbidden

SECRET_BYTES = 32


class Signer:
    """Signs names and checks signatures, with the secret of one home."""

    def __init__(self, home: Path) -> None:
        self._path = home / "signing.key"
        self._key: bytes | None = None

    def signature(self, name: str, expires_s: int) -> str:
        """The signature that opens a name until an instant, in Unix seconds."""
        return hmac.new(self._secret(), f"{expires_s}\n{name}".encode(), sha256).hexdigest()

    def require(self, name: str, expires_s: int, signature: str, now_s: float) -> None:
        """Raises `Forbidden` for a signature that is not of this name, instant and secret, and after the instant."""
        expected = self.signature(name, expires_s).encode()
        if not hmac.compare_digest(expected, signature.encode(errors="replace")):
            raise Forbidden("this address is not one that was given out", {"remedy": "ask for the export again"})
        if now_s >= expires_s:
            raise Forbidden("this address has expired", {"remedy": "ask for the export, or the list, again"})

    def _secret(self) -> bytes:
        if self._key is None:
            self._key = secret_file(self._path, lambda: secrets.token_bytes(SECRET_BYTES))
        return self._key
