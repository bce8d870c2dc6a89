"""A person's events, the newest first: of any period and name, a page after the other."""

from __future__ import annotations

from collections import Counter
from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import PersonEvents

from dashboard import page
from dashboard.address import in_address
from dashboard.answers import remembered
from dashboard.markdown import code, plain
from dashboard.times import begin_of, time_text
from dashboard.values import value_text

PAGE_EVENTS = 50


@remembered(5, reads_the_lake=True)
def events(
    admin: Admin, id: str, since: str | None, until: str | None, name: str | None, cursor: str | None
) -> PersonEvents:
    """A page of events; the next one is at its cursor."""
    return admin.person_events(id, since=since, until=until, name=name, limit=PAGE_EVENTS, cursor=cursor)


def timeline(id: str) -> None:
    """The filters, which the URL keeps, and the events."""
    left, middle, right = st.columns([2, 1, 1])
    name = left.text_input("Name, in full", type="search", live="300ms", placeholder="Any name", **in_address("event"))
    since = begin_of(middle.date_input("From", None, **in_address("from")))
    until = begin_of(right.date_input("To, with that date", None, **in_address("to")), days=1)
    shown = f"pages of {id} {name} {since} {until}"
    pages, cursor = st.session_state.get(shown, 1), None
    seen: Counter[str] = Counter()
    for _ in range(pages):
        found = events(id, since, until, name or None, cursor)
        for event in found["events"]:
            key = f"event {event['id']} {event['eventId']}"
            seen[key] += 1
            _event(dict(event), f"{key} {seen[key]}")
        cursor = found["cursor"]
        if not found["complete"]:
            st.caption("The drain is behind: the very last events may be missing.")
        if cursor is None:
            break
    if pages == 1 and not found["events"]:
        page.empty("No events", "There are none of this name in this period. New ones are here at once.")
    if cursor is not None and st.button("Older events", icon=":material/expand_more:"):
        st.session_state[shown] = pages + 1
        st.rerun()


def _event(event: dict[str, Any], key: str) -> None:
    """One event in a line, with all that was sent behind a click. By its key it stays open when newer ones come."""
    fields = event["properties"] or event["traits"] or {}
    words = ", ".join(f"{key} {value_text(value)}" for key, value in fields.items())
    title = f"{time_text(event['ts'])} · {code(event['name'] or event['kind'])}" + (
        f" · {plain(words[:110])}" if words else ""
    )
    with st.expander(title, key=key):
        st.json({key: value for key, value in event.items() if value not in (None, {}, "")})
