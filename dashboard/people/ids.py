"""The ids of a person, and since when and by which event each is theirs."""

from __future__ import annotations

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import Identity

from dashboard import page
from dashboard.access import signed_in
from dashboard.answers import forget, remembered
from dashboard.markdown import code
from dashboard.tables import table
from dashboard.times import time_text
from dashboard.workspace import may_change


@remembered(10)
def identity(admin: Admin, id: str) -> Identity:
    """All ids of the person whom an id belongs to."""
    return admin.identity(id)


def ids(user: str) -> None:
    """The ids as a table; a click on one that was linked offers to take it away."""
    found = identity(user)
    picked = table(
        [
            {
                "id": one["id"],
                "kind": one["kind"],
                "owner": one["owner"] or "the person's own",
                "since": time_text(one["since"]),
                "event": one["event"] or "",
            }
            for one in found["ids"]
        ],
        {
            "id": st.column_config.TextColumn("Id"),
            "kind": st.column_config.TextColumn("Kind"),
            "owner": st.column_config.TextColumn("Belongs to"),
            "since": st.column_config.TextColumn("Since"),
            "event": st.column_config.TextColumn("By event"),
        },
        key="ids of a person",
        id_of="id",
    )
    linked = {one["id"] for one in found["ids"] if one["owner"]}
    if (
        picked in linked
        and may_change()
        and st.button(f"Take {code(picked)} from this person …", icon=":material/link_off:")
    ):
        _ask_to_unlink(str(picked))
    elif linked and may_change():
        st.caption("Click on an id that belongs to another to take it away: it becomes a person of its own.")


@page.dialog("Take an id away")
def _ask_to_unlink(id: str) -> None:
    st.markdown(
        f"{code(id)} becomes a person of its own, with the events that came under it. A later login may link it anew."
    )
    if st.button("Take it away", type="primary"):
        with page.refusals():
            signed_in().admin.unlink(id)
            forget()
            page.say(f"{code(id)} is a person of its own")
            st.rerun()
