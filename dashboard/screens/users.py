"""Users: the search by any id, and one person."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin, ApiError
from tinycdp.admin_types import FoundUser, UserPage

from dashboard import page
from dashboard.address import in_address, open_query, section
from dashboard.answers import remembered
from dashboard.markdown import code
from dashboard.people.decisions import decisions
from dashboard.people.ids import ids
from dashboard.people.leaving import leaving
from dashboard.people.profile import person, profile
from dashboard.people.timeline import timeline
from dashboard.tables import PAGE_ROWS, pager, table
from dashboard.times import time_text
from dashboard.workspace import may_change

TITLE = "Users"
ICON = ":material/group:"

OTHERS = st.column_config.ListColumn("Other ids", width="small")


@remembered(10, reads_the_lake=True)
def found(admin: Admin, text: str, offset: int) -> UserPage:
    """A page of the users whose id contains a text, the newest first."""
    return admin.search_users(text, limit=PAGE_ROWS, offset=offset)


def show() -> None:
    """The search, or the person whom the URL names."""
    id = st.query_params.get("id")
    if not id:
        _search()
    else:
        _one(id)


def _search() -> None:
    page.header("Users", "People by a part of any of their ids, the newest first.")
    text = st.text_input(
        "Id",
        **in_address("q"),
        type="search",
        live="300ms",
        placeholder="A part of an id; user:ad and anon:5f begin with it",
        label_visibility="collapsed",
    )
    caption, place = st.container(), st.container()
    total = found(text or "", 0)["total"]
    users = found(text or "", pager(total, key="page"))["users"]
    if not users:
        if text:
            page.empty("Nobody found", "Search for another part of an id. New people are here after about a second.")
        else:
            page.empty("Nobody yet", "People are here once an app has sent an event: the dashboard shows how.")
        return
    caption.caption(f"{total:,} people")
    with place:
        picked = table(
            [_in_list(user) for user in users],
            {
                "id": st.column_config.TextColumn("Id", width="medium"),
                **({"others": OTHERS} if any(len(user["aliases"]) > 1 for user in users) else {}),
                "eventCount": st.column_config.NumberColumn("Events", format="localized", width=70),
                "first": st.column_config.TextColumn("First seen", width=148),
                "last": st.column_config.TextColumn("Last event", width=148),
                "activeSegments": st.column_config.ListColumn("Segments, at the last rebuild", width="medium"),
            },
            key="users",
            id_of="id",
        )
    if picked is not None:
        open_query(id=picked)


def _in_list(user: FoundUser) -> dict[str, Any]:
    own = [alias["value"] for alias in user["aliases"]]
    return {
        **user,
        "others": own[1:],  # the first is the person's own
        "first": time_text(user["created_at"]),
        "last": time_text(user["lastEventTime"]),
    }


def _one(id: str) -> None:
    try:
        user = person(id)
    except ApiError as error:
        page.back_header(id, "Users")
        page.refusal(error)
        return
    own_id = user["id"]
    aliases = ", ".join(f"{alias['kind']} {code(alias['value'])}" for alias in user["aliases"][:5])
    page.back_header(own_id, "Users", f"First seen {time_text(user['created_at'])} · {aliases}")
    parts = ["Profile", "Events", "Decisions", "Ids", *(["Download, delete"] if may_change() else [])]
    match section(parts):
        case "Events":
            timeline(own_id)
        case "Decisions":
            decisions(own_id)
        case "Ids":
            ids(own_id)
        case "Download, delete":
            leaving(own_id)
        case _:
            profile(user)
