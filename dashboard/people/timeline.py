"""A person's events, the newest first, with what was sent."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp.admin_types import UserDetail

from dashboard import page
from dashboard.times import time_text
from dashboard.values import value_text


def timeline(found: UserDetail) -> None:
    """The 50 latest events."""
    names = sorted({event["name"] or "–" for event in found["recentEvents"]})
    chosen = st.multiselect("Names", names, key="names", placeholder="All events", label_visibility="collapsed")
    events = [event for event in found["recentEvents"] if not chosen or (event["name"] or "–") in chosen]
    if not events:
        page.empty("No events", "What an app sends for this person is here about a second later.")
        return
    for event in events:
        shown_event(event["ts"], event["name"], event["props"])


def shown_event(ts: str, name: str | None, properties: Any, more: str = "") -> None:
    """One event in a line, with its properties behind a click."""
    words = ", ".join(f"{key} {value_text(value)}" for key, value in (properties or {}).items())
    title = f"{time_text(ts)} · **{name or '–'}**{more}" + (f" · {words[:90]}" if words else "")
    with st.expander(title.replace("$", "\\$")):
        st.json(properties or {})
