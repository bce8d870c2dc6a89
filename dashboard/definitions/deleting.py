"""Deletes a definition, once its key was typed, and names what uses it where that stands against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st
from tinycdp import Conflict

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import open_query
from dashboard.answers import forget
from dashboard.definitions.drafts import drop
from dashboard.definitions.kinds import Kind
from dashboard.markdown import code
from dashboard.navigation import link

#: Each link costs the page some milliseconds.
LINKS_MAX = 20


@page.dialog("Delete")
def ask_to_delete(kind: Kind, found: dict[str, Any]) -> None:
    """Asks for the key, and deletes."""
    key = found["key"]
    if found["used_by"]:
        st.error(f"The {kind.name} {code(key)} cannot be deleted while others use it:", icon=":material/link:")
        links_to(found["used_by"])
        return
    st.markdown(
        f"The {kind.name} {code(key)} stops to exist for every app. Its history stays, and it can be brought back."
    )
    typed = st.text_input(f"Type `{key}` to delete it", autocomplete="off")
    note = st.text_input("Note", placeholder="Why, for the history (may be empty)", max_chars=500)
    if st.button("Delete", type="primary", disabled=typed != key, icon=":material/delete:"):
        with page.refusals():
            try:
                signed_in().admin.delete_definition(kind.name, key, version=found["version"], note=note or None)
            except Conflict as error:
                page.refusal(error)
                return
            forget()
            drop(kind, key)
            page.say(f"Deleted: {kind.name} `{key}`")
            open_query()


def links_to(used_by: Sequence[str]) -> None:
    """A link to each definition that uses one, which the API names as `segment:loyal`; of many to the first ones."""
    for user in used_by[:LINKS_MAX]:
        kind, _, key = user.partition(":")
        link(f"{kind}s", f"{kind} {key}", icon=":material/arrow_forward:", key=key)
    if len(used_by) > LINKS_MAX:
        st.caption(f"And {len(used_by) - LINKS_MAX:,} more, which a search for the key in the lists finds.")
