"""A segment over time and beside others: members at each of the last 90 days, and whom it shares with which."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import charts, page
from dashboard.analyses import analysis
from dashboard.definitions.kinds import Kind
from dashboard.navigation import go
from dashboard.tables import table
from dashboard.times import time_text


def trend(kind: Kind, key: str, expression: str) -> None:
    """Members at the end of each of the last 90 days."""
    st.markdown("**Members at the end of each of the last 90 days**")
    analysis("trend", kind.name, expression, _draw_trend, key=key)


def overlap(kind: Kind, key: str, expression: str) -> None:
    """How many of the members are in each other segment."""
    st.markdown("**Members who are also in**")
    analysis("overlap", kind.name, expression, _draw_overlap, key=key)


def _draw_trend(result: dict[str, Any]) -> None:
    charts.by_day([{"date": point["date"], "members": point["members"]} for point in result["points"]], of="members")
    st.caption(f"Of {result['total']:,} people and the definitions of now, as of {time_text(result['asof'])}.")


def _draw_overlap(result: dict[str, Any]) -> None:
    if not result["segments"]:
        page.empty("No other segments", "Make another segment to compare this one with.")
        return
    members = result["members"] or 1
    picked = table(
        [
            {
                "key": one["key"],
                "both": one["both"],
                "of_these": one["both"] / members,
                "of_those": one["both"] / (one["members"] or 1),
                "members": one["members"],
            }
            for one in result["segments"]
        ],
        {
            "key": st.column_config.TextColumn("Segment"),
            "both": st.column_config.NumberColumn("In both", format="localized"),
            "of_these": _share("Share of these members"),
            "of_those": _share("Share of those"),
            "members": st.column_config.NumberColumn("Its members", format="localized"),
        },
        key="overlap",
        id_of="key",
    )
    if result["left_out"]:
        st.caption(f"{result['left_out']} segments with less in common are left out.")
    st.caption(f"As of {time_text(result['asof'])}.")
    if picked is not None:
        go("segments", key=picked)


def _share(label: str) -> Any:
    return st.column_config.ProgressColumn(label, format="percent", min_value=0, max_value=1)
