"""Who is signed in: the keys of people whose browsers hold a cookie, in this process' memory and nowhere else.

A cookie is a random id, of which only a digest is kept. A sign-in ends when its person signs out, when nobody has
opened a screen with it for 12 hours, or when the console starts anew.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from tinycdp import Admin

IDLE_S_MAX = 12 * 60 * 60
#: A screen waits so long for each answer, and then says that there is none; for one that is read in the lake; for that
#: of a change, which may be made though nobody hears of it.
ANSWER_S_MAX, LAKE_S_MAX, CHANGE_S_MAX = 8.0, 60.0, 60.0
#: With one more the sign-in that was idle longest ends.
SIGN_INS_MAX = 1_000
LINK_S_MAX = 60 * 60
#: With one more the oldest link stops to work.
LINKS_MAX = 100


@dataclass(frozen=True)
class SignIn:
    """One person's browser. `id` is no secret: it tells apart what different people may see.

    `patient` asks as `admin` does, and waits longer: for what is read in the lake.
    """

    admin: Admin = field(repr=False)
    patient: Admin = field(repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    def close(self) -> None:
        """Closes the connections."""
        self.admin.close()
        self.patient.close()


class Keyring:
    """Sign-ins by cookie, and links that sign in once. Safe for threads; `clock` gives seconds."""

    def __init__(self, api_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.api_url, self._clock = api_url, clock
        self._lock = threading.Lock()
        self._sign_ins: OrderedDict[bytes, tuple[SignIn, float]] = OrderedDict()  # the longest idle first
        self._links: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def sign_in(self, key: str) -> str:
        """The cookie of a new sign-in. Raises what the API answers to a key that may not administer."""
        admin = self._admin(key, ANSWER_S_MAX)
        try:
            admin.workspace()
        except BaseException:
            admin.close()
            raise
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            self._sign_ins[_digest(cookie)] = (SignIn(admin, self._admin(key, LAKE_S_MAX)), self._clock())
            while len(self._sign_ins) > SIGN_INS_MAX:
                self._sign_ins.popitem(last=False)[1][0].close()
        return cookie

    def _admin(self, key: str, answer_s_max: float) -> Admin:
        return Admin(self.api_url, key, timeout_s=answer_s_max, change_timeout_s=CHANGE_S_MAX)

    def find(self, cookie: str | None, *, is_used: bool = False) -> SignIn | None:
        """Who is signed in with a cookie; `is_used` begins the 12 hours anew."""
        if cookie is None:
            return None
        digest, now_s = _digest(cookie), self._clock()
        with self._lock:
            found = self._sign_ins.get(digest)
            if found is None:
                return None
            sign_in, used_s = found
            if now_s - used_s > IDLE_S_MAX:
                self._forget(digest)
                return None
            if is_used:
                self._sign_ins[digest] = (sign_in, now_s)
                self._sign_ins.move_to_end(digest)
            return sign_in

    def sign_out(self, cookie: str | None) -> None:
        """Ends a sign-in; the key is forgotten."""
        with self._lock:
            if cookie is not None:
                self._forget(_digest(cookie))

    def close(self) -> None:
        """Ends all sign-ins."""
        with self._lock:
            for digest in list(self._sign_ins):
                self._forget(digest)

    def _forget(self, digest: bytes) -> None:
        found = self._sign_ins.pop(digest, None)
        if found is not None:
            found[0].close()

    def link(self, key: str) -> str:
        """The secret of a link that signs in with a key, once and within an hour. Raises as `sign_in` does."""
        with self._admin(key, ANSWER_S_MAX) as admin:
            admin.workspace()
        secret = secrets.token_urlsafe(32)
        with self._lock:
            self._links[_digest(secret)] = (key, self._clock())
            while len(self._links) > LINKS_MAX:
                self._links.popitem(last=False)
        return secret

    def take_link(self, secret: str) -> str | None:
        """The key of a link, which does not work again; None where it was used, or is too old."""
        with self._lock:
            key, made_s = self._links.pop(_digest(secret), (None, 0.0))
        return key if self._clock() - made_s <= LINK_S_MAX else None


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
