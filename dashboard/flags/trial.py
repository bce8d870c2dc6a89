"""Asks what a flag says for one user now, and why."""

from __future__ import annotations

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import in_address
from dashboard.flags.asking import why
from dashboard.flags.explaining import decision
from dashboard.markdown import code
from dashboard.navigation import link


def trial(key: str) -> None:
    """The field for a user, which the URL keeps, and the decision. It does not count as an app's question."""
    user = st.text_input("User", placeholder="ada, or anon:5f3a …", **in_address("user"))
    if not user:
        page.empty("Whose decision?", "Type the id of a user, or of a device as `anon:…`.", ":material/person:")
        return
    decision(why(signed_in().admin, user, key))
    link("users", f"Profile of {code(user)}", icon=":material/person:", id=user)
