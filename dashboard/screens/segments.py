"""Segments: their list, and one of them."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st
from tinycdp import NotFound

from dashboard import page
from dashboard.definitions import detail
from dashboard.definitions.comparing import overlap, trend
from dashboard.definitions.history import history
from dashboard.definitions.kinds import SEGMENT
from dashboard.definitions.listing import list_screen
from dashboard.definitions.previewing import preview
from dashboard.exporting import start_export
from dashboard.workspace import may_change

TITLE = "Segments"
ICON = ":material/group_work:"


def show() -> None:
    """The list, or the segment that the URL names."""
    key = st.query_params.get("key")
    if key is not None:
        _one(key)
    elif "new" in st.query_params:
        detail.create(SEGMENT)
    else:
        list_screen(SEGMENT, {"rule": st.column_config.TextColumn("Rule", width="large")})


def _one(key: str) -> None:
    found = detail.found_or_gone(SEGMENT, key)
    if found is None:
        with suppress(NotFound):  # there never was one, as was said already
            history(SEGMENT, key, None)
        return
    match page.sections(["Definition", "Members", "Trend", "Overlap", "History"]):
        case "Members":
            preview(SEGMENT, found["rule"], "members")
            if may_change() and st.button("Export all as CSV", icon=":material/download:"):
                start_export(key)
        case "Trend":
            trend(SEGMENT, key, found["rule"])
        case "Overlap":
            overlap(SEGMENT, key, found["rule"])
        case "History":
            history(SEGMENT, key, found["version"])
        case _:
            detail.edit(SEGMENT, found)
            detail.used_by(found)
