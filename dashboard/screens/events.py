"""Events as they come in, accepted and refused: what somebody looks at who sets up a client."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import in_address
from dashboard.markdown import code, plain
from dashboard.navigation import link
from dashboard.tables import ROWS_ABOVE_MORE, table
from dashboard.times import time_text
from dashboard.values import value_text

TITLE = "Events"
ICON = ":material/bolt:"

REFRESH_S = 2
#: Events on the screen.
SHOWN_MAX = 200
PICKED = "the event that was clicked"
STATES = {"All": None, "Accepted": "accepted", "Refused": "refused"}


def show() -> None:
    """The filters, and the stream below them."""
    page.header("Events", "What comes in, from its acknowledgement on. Look here while you set up a client.")
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    name = left.text_input("Name, in full", type="search", live="300ms", placeholder="Any name", **in_address("name"))
    with middle:
        state = st.segmented_control("State", list(STATES), default="All", required=True, **in_address("state"))
    is_live = right.toggle("Live", value=True, key="live")
    _stream(name or None, STATES[state or "All"], REFRESH_S if is_live else None)


def _stream(name: str | None, state: Any, every_s: float | None) -> None:
    @st.fragment(run_every=every_s)
    def stream() -> None:
        with st.container(key="live events"), page.refusals():
            answer = signed_in().admin.newest_events(limit=SHOWN_MAX, name=name, state=state)
            if not answer["events"]:
                page.empty(
                    "No events",
                    "Send one to `POST /v1/track` with a write key: it is here within two seconds. A purge takes the "
                    "newest ones from here; those of a person stay on their page.",
                )
                return
            events = {_id(dict(event)): dict(event) for event in answer["events"]}
            picked = table(
                [_row(id, event) for id, event in events.items()],
                {
                    "at": st.column_config.TextColumn("Received", width=150),
                    "state": st.column_config.TextColumn("State", width=80),
                    "name": st.column_config.TextColumn("Name", width="small"),
                    "who": st.column_config.TextColumn("Who", width="small"),
                    "about": st.column_config.TextColumn("Properties, or the reason", width="large"),
                },
                key="events",
                id_of="id",
                rows_shown=ROWS_ABOVE_MORE,
            )
            if picked is not None:
                st.session_state[PICKED] = events[picked]
            # It stays while others come in and the table, whose rows moved, has nothing selected.
            if PICKED in st.session_state:
                _event(st.session_state[PICKED])
            else:
                st.caption("Click on an event to see all that was sent.")

    stream()


def _id(event: dict[str, Any]) -> str:
    return f"{event['received_at']} {event['id']} {event['eventId']} {event['text']}"


def _row(id: str, event: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": id,
        "at": time_text(event["received_at"]),
        "state": event["state"],
        "name": event["name"] or event["kind"],
        "who": event["userId"] or event["anonymousId"],
        "about": event["reason"] or _brief(event["properties"] or event["traits"] or {}),
    }


def _event(event: dict[str, Any]) -> None:
    with st.container(border=True):
        st.markdown(f"{code(event['name'] or event['kind'] or '?')} · {time_text(event['received_at'])}")
        if event["id"]:
            link("users", f"Profile of {code(event['id'])}", icon=":material/person:", id=event["id"])
        if event["state"] == "refused":
            st.markdown(f":red[{plain(event['code'])}: {plain(event['reason'])}]")
            link("rejected", "All refused events", icon=":material/block:")
            st.code(event["text"] or "", language="json", wrap_lines=True)
        else:
            st.json({name: event[name] for name in SENT if event[name] not in (None, {})})


#: What is shown of an accepted event.
SENT = ("kind", "name", "userId", "anonymousId", "ts", "eventId", "properties", "traits", "context", "key")


def _brief(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in fields.items())[:120]
