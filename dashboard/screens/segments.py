"""Segments: their list, and one of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.address import section
from dashboard.definitions import detail
from dashboard.definitions.comparing import overlap, trend
from dashboard.definitions.history import history
from dashboard.definitions.kinds import SEGMENT
from dashboard.definitions.listing import list_screen
from dashboard.definitions.members import members
from dashboard.definitions.screen import definition_screen
from dashboard.exporting import start_export
from dashboard.workspace import may_change

TITLE = "Segments"
ICON = ":material/group_work:"


def show() -> None:
    """The list, or the segment that the URL names."""
    definition_screen(SEGMENT, _one, _list)


def _list() -> None:
    list_screen(SEGMENT, {"rule": st.column_config.TextColumn("Rule", width=240)})


def _one(found: dict[str, Any]) -> None:
    key = found["key"]
    match section(["Definition", "Members", "Trend", "Overlap", "History"]):
        case "Members":
            if may_change() and st.button("Export all as CSV", icon=":material/download:"):
                start_export(key)
            members(key)
        case "Trend":
            trend(SEGMENT, key, found["rule"])
        case "Overlap":
            overlap(SEGMENT, key, found["rule"])
        case "History":
            history(SEGMENT, key, found["version"])
        case _:
            detail.edit(SEGMENT, found)
            detail.before_a_delete(SEGMENT, found)
