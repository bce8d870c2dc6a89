"""Rejected: events that were refused, by reason and by where they came from; sent again once the cause is repaired."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import Redriven, RejectedPage

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import open_query
from dashboard.answers import forget, remembered
from dashboard.markdown import plain
from dashboard.tables import PAGE_ROWS, table
from dashboard.times import time_text
from dashboard.values import read_json
from dashboard.workspace import may_change

TITLE = "Rejected"
ICON = ":material/block:"

ALL = "All reasons"
#: Of events that were refused again so many are named.
NAMED_MAX = 20


@remembered(5, reads_the_lake=True)
def rejected(admin: Admin, reason: str | None, cursor: str | None) -> RejectedPage:
    """A page of the refused events of the last seven days, with their numbers."""
    return admin.rejected(reason=reason, limit=PAGE_ROWS, cursor=cursor)


def show() -> None:
    """Numbers by reason and source, then the events."""
    page.header(
        "Rejected", "Events of the last seven days that were refused, and why. Repair the cause, send them again."
    )
    reason = st.query_params.get("reason")
    found = rejected(None, None)
    if found["waiting"]:
        st.caption(f"{found['waiting']:,} more are on their way to the lake.")
    if not found["total"]:
        page.empty("Nothing was refused", "An event that is refused with 400 is here a second or so later.")
        return
    _numbers(found)
    _events(reason)


def _numbers(found: RejectedPage) -> None:
    left, right = st.columns([3, 2])
    with left:
        st.markdown(f"**By reason** · {found['total']:,} in all")
        table(
            [{**one, "last": time_text(one["last_at"])} for one in found["reasons"]],
            {
                "reason": st.column_config.TextColumn("Reason", width=260),
                "count": st.column_config.NumberColumn("Events", format="localized", width=60),
                "last": st.column_config.TextColumn("Last"),
            },
            key="reasons",
            id_of="reason",
            on_pick=lambda picked: st.query_params.from_dict({"reason": picked}),
        )
    with right:
        st.markdown("**By source**")
        table(
            [
                {"source": " ".join(filter(None, [one["source"], one["path"], one["key"]])), "count": one["count"]}
                for one in found["sources"]
            ],
            {
                "source": st.column_config.TextColumn("Path and key, or file", width="medium"),
                "count": st.column_config.NumberColumn("Events", format="localized", width="small"),
            },
            key="sources",
        )


def _events(reason: str | None) -> None:
    first = rejected(reason, None)
    some_may_be_sent = first["cursor"] is not None or any(may_be_sent(dict(event)) for event in first["rejected"])
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader("Events" if reason is None else f"Events: {plain(reason)}", anchor=False)
        if reason is not None:
            if st.button(ALL, icon=":material/close:"):
                open_query()
            if some_may_be_sent and may_change() and st.button("Send all of it again …", icon=":material/redo:"):
                _ask_to_send_all(reason)
    shown = f"pages of refused {reason}"
    pages, cursor = st.session_state.get(shown, 1), None
    for _ in range(pages):
        found = rejected(reason, cursor)
        for event in found["rejected"]:
            _event(dict(event))
        cursor = found["cursor"]
        if cursor is None:
            break
    if pages == 1 and not found["rejected"]:
        page.empty("No events", "None was refused for this reason in the last seven days.")
    if cursor is not None and st.button("Older ones", icon=":material/expand_more:"):
        st.session_state[shown] = pages + 1
        st.rerun()


def may_be_sent(event: dict[str, Any]) -> bool:
    """Whether all of a refused event was kept, and it was not sent again yet."""
    return not event["cut"] and event["id"] is not None and event["redriven_at"] is None


def _event(event: dict[str, Any]) -> None:
    mark = ":green-badge[sent again]" if event["redriven_at"] else ":red-badge[refused]"
    source = event["path"] or event["source"]
    title = f"{mark} {time_text(event['received_at'])} · {plain(source)} · **{plain(event['reason'][:200])}**"
    with st.expander(title, key=None if event["id"] is None else f"refused {event['id']}"):
        if event["redriven_at"]:
            st.caption(f"Sent again at {time_text(event['redriven_at'])}.")
        if event["key"]:
            st.caption(f"It came with the key {plain(event['key'])}.")
        # Above the text, whose viewer comes a moment later and would move a button away from who presses it.
        may_send = may_be_sent(event) and may_change()
        if may_send and st.button("Send again …", key=f"again {event['id']}", icon=":material/redo:"):
            _ask_to_send(event)
        _text(event)
        if event["cut"]:
            st.caption("Not all of its text was kept, so it is not sent again.")


def _text(event: dict[str, Any]) -> None:
    text = event["event"] or "null"
    try:
        read_json(text)
    except ValueError:  # clients send anything
        st.code(text, language=None, wrap_lines=True)
    else:
        st.json(text)


@page.dialog("Send a refused event again", width="large")
def _ask_to_send(event: dict[str, Any]) -> None:
    st.markdown(f"It was refused: **{plain(event['reason'])}**. Send it as it is, or repaired:")
    as_sent = _indented(event["event"])
    text = st.text_area("Event, as JSON", as_sent, height=260)
    if st.button("Send again", type="primary", icon=":material/redo:"):
        try:
            repaired = None if text == as_sent else read_json(text or "")
        except ValueError as error:
            st.error(f"This is no JSON that can be sent: {plain(error)}.")
            return
        with page.refusals():
            _say(signed_in().admin.redrive([event["id"]], event=repaired))


@page.dialog("Send refused events again")
def _ask_to_send_all(reason: str) -> None:
    st.markdown(
        f"All events that were refused for **{plain(reason)}** are sent again as they are, the oldest 1,000 first."
    )
    st.caption("Each counts at its own time, once. What is refused again stays here.")
    if st.button("Send them", type="primary", icon=":material/redo:"):
        with page.refusals():
            _say(signed_in().admin.redrive(reason=reason))


def _say(done: Redriven) -> None:
    """What became of them. The dialog closes when all went through; else it stays, and the list is drawn anew behind it
    once it is closed: some may have been sent.
    """
    forget()
    words = [f"{done['redriven']:,} sent"]
    if done["duplicates"]:
        words.append(f"{done['duplicates']:,} had been taken before")
    if done["left"]:
        words.append(f"{done['left']:,} left: send them, too")
    if not done["refused"]:
        page.say(", ".join(words))
        st.rerun()
    st.markdown(", ".join(words) + f", {len(done['refused']):,} refused again:")
    for one in done["refused"][:NAMED_MAX]:
        st.error(plain(one["message"]))


def _indented(text: str | None) -> str:
    try:
        indented = json.dumps(read_json(text or ""), indent=2, ensure_ascii=False)
        indented.encode()
    except ValueError:  # no JSON, or half a character, which no field takes
        return text or ""
    return indented
