"""Events as they come in, accepted and refused: what somebody looks at who sets up a client."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.navigation import link
from dashboard.times import time_text
from dashboard.values import value_text

TITLE = "Events"
ICON = ":material/bolt:"

REFRESH_S = 2
#: Events that stay on the screen.
SHOWN_MAX = 200
STATES = {"All": None, "Accepted": "accepted", "Refused": "refused"}


def show() -> None:
    """The filters, and the stream below them."""
    page.header("Events", "What comes in, from its acknowledgement on. Look here while you set up a client.")
    left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
    name = left.text_input("Name", key="name", bind="query-params", type="search", live="300ms", placeholder="Any name")
    with middle:
        state = st.segmented_control(
            "State", list(STATES), default="All", required=True, key="state", bind="query-params"
        )
    is_live = right.toggle("Live", value=True, key="live")
    _stream(name or None, STATES[state or "All"], REFRESH_S if is_live else None)


def _stream(name: str | None, state: Any, every_s: float | None) -> None:
    @st.fragment(run_every=every_s)
    def stream() -> None:
        with page.refusals():
            answer = signed_in().admin.newest_events(limit=SHOWN_MAX, name=name, state=state)
            if not answer["events"]:
                page.empty("No events", "Send one to `POST /v1/track` with a write key: it is here within two seconds.")
                return
            for event in answer["events"][:SHOWN_MAX]:
                _event(dict(event))

    stream()


def _event(event: dict[str, Any]) -> None:
    is_refused = event["state"] == "refused"
    mark = ":red-badge[refused]" if is_refused else ":green-badge[accepted]"
    who = event["userId"] or event["anonymousId"] or "?"
    about = event["reason"] if is_refused else _brief(event["properties"] or event["traits"] or {})
    title = f"{mark} {time_text(event['received_at'])} · **{event['name'] or event['kind'] or '?'}** · {who} · {about}"
    with st.expander(title.replace("$", "\\$")[:300]):
        if event["id"]:
            link("users", f"Profile of {who}", icon=":material/person:", id=event["id"])
        if is_refused:
            st.markdown(f":red[{event['code']}: {event['reason']}]")
            link("rejected", "All refused events", icon=":material/block:")
            st.code(event["text"] or "", language="json", wrap_lines=True)
        else:
            st.json({name: event[name] for name in SENT if event[name] not in (None, {})})


#: What is shown of an accepted event.
SENT = ("kind", "name", "userId", "anonymousId", "ts", "eventId", "properties", "traits", "context", "key")


def _brief(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value_text(value)}" for name, value in fields.items())[:120]
