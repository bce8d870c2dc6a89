"""Users: the search."""

from __future__ import annotations

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import UserPage

from dashboard import page
from dashboard.answers import remembered
from dashboard.tables import PAGE_ROWS, pager, table
from dashboard.times import instant

TITLE = "Users"
ICON = ":material/group:"


@remembered(10)
def found(admin: Admin, text: str, offset: int) -> UserPage:
    """A page of the users whose id contains a text, the newest first."""
    return admin.search_users(text, limit=PAGE_ROWS, offset=offset)


def show() -> None:
    """The search, and its page of users."""
    page.header("Users", "People by any of their ids, the newest first.")
    text = (
        st.text_input("Id", key="q", bind="query-params", type="search", live="300ms", placeholder="ada, or anon:5f")
        or ""
    )
    place = st.container()
    total = found(text, 0)["total"]
    users = found(text, pager(total, key="page"))["users"]
    with place:
        if not users:
            page.empty("Nobody found", "Send an event, or search for another part of an id.")
            return
        table(
            [{**user, "last": instant(user["lastEventTime"])} for user in users],
            {
                "id": st.column_config.TextColumn("Id", pinned=True),
                "eventCount": st.column_config.NumberColumn("Events"),
                "last": st.column_config.DatetimeColumn("Last event"),
                "activeSegments": st.column_config.ListColumn("Segments"),
            },
            key="users",
            id_of="id",
        )
