"""The person in front of this screen, as the cookie of their browser says."""

from __future__ import annotations

import streamlit as st

from dashboard.console import console
from dashboard.keyring import SignIn


class NotSignedIn(Exception):
    """The sign-in has ended: by its person in another tab, by 12 idle hours, or with the console's process."""


def signed_in(*, is_used: bool = False) -> SignIn:
    """Whose key the API is asked with. `is_used`: a person did something, so the idle hours begin anew.

    Raises `NotSignedIn`.
    """
    sign_in = console().keyring.find(cookie(), is_used=is_used)
    if sign_in is None:
        raise NotSignedIn
    return sign_in


def cookie() -> str | None:
    """What the browser sent when it opened this page."""
    return st.context.cookies.get(console().cookie)
