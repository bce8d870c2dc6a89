"""Who is in a segment now: how many, and a page after the other."""

from __future__ import annotations

import streamlit as st
from tinycdp import Admin, InvalidRequest
from tinycdp.admin_types import SegmentMembers

from dashboard import page
from dashboard.answers import remembered
from dashboard.navigation import go
from dashboard.tables import PEOPLE_ROWS, Turner, table
from dashboard.times import time_text


@remembered(120, reads_the_lake=True)
def page_of_members(admin: Admin, key: str, cursor: str | None) -> SegmentMembers:
    """The answer of the lake."""
    return admin.segment_members(key, limit=PEOPLE_ROWS, cursor=cursor)


def members(key: str) -> None:
    """The numbers, and a page of the members by id. A click on one opens that person."""
    turner = Turner("members")
    try:
        found = page_of_members(key, turner.cursor)
    except InvalidRequest as error:  # an address may say anything of where a page begins
        page.refusal(error)
        turner.draw(None)
        return
    page.share_of_all("Members", found["count"], found["total"])
    st.caption(f"As of {time_text(found['asof'])}, from the lake; kept for two minutes.")
    if not found["members"]:
        page.empty(
            "Nobody", "The rule holds for nobody at this moment." if turner.is_first else "There is no such page."
        )
        turner.draw(None)
        return
    picked = table(
        [{"id": one["id"], "since": time_text(one["since"])} for one in found["members"]],
        {
            "id": st.column_config.TextColumn("Id", width="large"),
            "since": st.column_config.TextColumn("Since", width="medium", help="The first rebuild that saw it."),
        },
        key="members",
        id_of="id",
    )
    turner.draw(found["cursor"], f"of {-(-found['count'] // PEOPLE_ROWS):,}")
    if picked is not None:
        go("users", id=picked)
