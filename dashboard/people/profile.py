"""What is known of a person: attributes, traits, segments and numbers of events."""

from __future__ import annotations

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import UserDetail

from dashboard.answers import remembered
from dashboard.navigation import go
from dashboard.tables import table
from dashboard.times import time_text
from dashboard.values import value_text


@remembered(5, reads_the_lake=True)
def person(admin: Admin, id: str) -> UserDetail:
    """One user. Raises `NotFound`."""
    return admin.user(id)


def profile(found: UserDetail) -> None:
    """Numbers, then attributes beside segments, then traits."""
    counts = found["eventCounts"]
    for place, (label, value) in zip(
        st.columns(4),
        (("Events", "total"), ("Last 24 h", "last_24h"), ("Last 7 d", "last_7d"), ("Last 30 d", "last_30d")),
        strict=True,
    ):
        place.metric(label, f"{counts[value]:,}", border=True)  # type: ignore[literal-required]
    left, right = st.columns([3, 2])
    with left:
        st.subheader("Segments", anchor=False)
        _segments(found)
    with right:
        st.subheader("Attributes", anchor=False)
        _attributes(found)
    st.subheader("Traits", anchor=False)
    _traits(found)


def _segments(found: UserDetail) -> None:
    if not found["segments"]:
        st.caption("There are no segments yet.")
        return
    picked = table(
        [
            {
                "key": one["key"],
                "in": "in" if one["inSegment"] else ("warming" if one["warming"] else "–"),
                "since": time_text(one["since"]) if one["inSegment"] else "",
                "next": next_text(one["nextChange"]),
            }
            for one in sorted(found["segments"], key=lambda one: (not one["inSegment"], one["key"]))
        ],
        {
            "key": st.column_config.TextColumn("Segment", width=150),
            "in": st.column_config.TextColumn("Now", width=60),
            "since": st.column_config.TextColumn("Since", width=148, help="The first rebuild that saw it."),
            "next": st.column_config.TextColumn("Changes by time alone", width=148, help="With no new event."),
        },
        key="segments of a person",
        id_of="key",
    )
    if picked is not None:
        go("segments", key=picked)


def next_text(next_change: str) -> str:
    """When a value changes with no new event, as the API says it."""
    return next_change if next_change in ("never", "unknown") else time_text(next_change)


def _attributes(found: UserDetail) -> None:
    if not found["attributes"]:
        st.caption("None. An app sends them with `identify`.")
        return
    table(
        [{"name": name, "value": value_text(value)} for name, value in sorted(found["attributes"].items())],
        {"name": st.column_config.TextColumn("Attribute"), "value": st.column_config.TextColumn("Value")},
        key="attributes of a person",
    )


def _traits(found: UserDetail) -> None:
    if not found["traits"]:
        st.caption("There are no traits yet.")
        return
    rows = [
        {
            "key": one["key"],
            "value": "warming" if one["warming"] else value_text(one["value"]),
            "next": next_text(one["nextChange"]),
        }
        for one in found["traits"]
    ]
    columns = {
        "key": st.column_config.TextColumn("Trait"),
        "value": st.column_config.TextColumn("Value", width="large"),
        "next": st.column_config.TextColumn("Changes by time alone", help="With no new event."),
    }
    picked = table(rows, columns, key="traits of a person", id_of="key")
    if picked is not None:
        go("traits", key=picked)
