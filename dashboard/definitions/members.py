"""Who is in a segment now: how many, and a page after the other."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin, Conflict, InvalidRequest
from tinycdp.admin_types import SegmentMembers

from dashboard import page
from dashboard.analyses import analysis
from dashboard.answers import remembered
from dashboard.markdown import plain
from dashboard.navigation import go
from dashboard.people_found import first_people
from dashboard.tables import PEOPLE_ROWS, Turner, table
from dashboard.times import time_text

COLUMNS = {
    "id": st.column_config.TextColumn("Id", width="large"),
    "since": st.column_config.TextColumn("Since", width="medium", help="The first rebuild that saw it."),
}


@remembered(120, reads_the_lake=True)
def page_of_members(admin: Admin, key: str, cursor: str | None) -> SegmentMembers:
    """The answer of the lake."""
    return admin.segment_members(key, limit=PEOPLE_ROWS, cursor=cursor)


def members(key: str) -> None:
    """The numbers, and a page of the members by id. A click on one opens that person."""
    turner = Turner("members")
    try:
        found = page_of_members(key, turner.cursor)
    except Conflict as error:  # of many events the answer is the last rebuild's, and that did not know this rule
        st.info(plain(error.message), icon=":material/hourglass_empty:")
        _as_of_now(key)
        return
    except InvalidRequest as error:  # an address may say anything of where a page begins
        page.refusal(error)
        turner.draw(None)
        return
    if not found["fresh"] and st.toggle("As of now", help="Everybody is computed anew, which takes a while."):
        _as_of_now(key)
        return
    page.share_of_all("Members", found["count"], found["total"])
    source = "from the lake; kept for two minutes" if found["fresh"] else "by the last full rebuild"
    st.caption(f"As of {time_text(found['asof'])}, {source}.")
    if not found["members"]:
        page.empty(
            "Nobody", "The rule holds for nobody at this moment." if turner.is_first else "There is no such page."
        )
        turner.draw(None)
        return
    picked = table(
        [{"id": one["id"], "since": time_text(one["since"])} for one in found["members"]],
        COLUMNS,
        key="members",
        id_of="id",
    )
    turner.draw(found["cursor"], f"of {-(-found['count'] // PEOPLE_ROWS):,}")
    if picked is not None:
        go("users", id=picked)


def _as_of_now(key: str) -> None:
    """All of them counted, and the first ones, once that is computed."""
    analysis("people", "segment", None, _draw, key=key)


def _draw(result: dict[str, Any]) -> None:
    page.share_of_all("Members", result["count"], result["total"])
    st.caption(f"As of {time_text(result['asof'])}.")
    if not result["count"]:
        page.empty("Nobody", "The rule holds for nobody at this moment.")
        return
    rows = [{"id": one["id"], "since": time_text(one["since"])} for one in result["sample"]]
    first_people(rows, result["count"], COLUMNS, others="All are in an export.")
