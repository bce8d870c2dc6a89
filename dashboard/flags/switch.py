"""Switches a flag on or off, after a person said yes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.answers import forget
from dashboard.definitions.impact import impact
from dashboard.definitions.kinds import FLAG
from dashboard.markdown import code
from dashboard.times import instant, time_text
from dashboard.workspace import may_change


def switch(flag: dict[str, Any]) -> None:
    """The state of a flag, and the button that changes it."""
    is_on, not_now = flag["enabled"], why_not_now(flag)
    with st.container(horizontal=True, vertical_alignment="center"):
        if not is_on:
            st.markdown(":gray-badge[:material/toggle_off: off]")
        elif not_now:
            st.markdown(":orange-badge[:material/schedule: on, but not now]")
        else:
            st.markdown(":green-badge[:material/toggle_on: on]")
        default = f"Everybody gets the default, {code(answer_text(flag['default']))}."
        st.markdown("Its rule decides." if is_on and not not_now else f"{not_now or ''} {default}".strip())
        if may_change() and st.button("Switch off …" if is_on else "Switch on …"):
            _ask(flag)
    if may_change():
        with page.refusals():
            impact(FLAG, flag["key"], flag, {**flag, "enabled": not is_on}, "Impact of the switch")


def why_not_now(flag: Mapping[str, Any]) -> str:
    """Why a flag that is on is off all the same, by the console's clock: its time is to come, or over. Else empty."""
    now, starts_at, ends_at = datetime.now(UTC), instant(flag["starts_at"]), instant(flag["ends_at"])
    if flag["enabled"] and starts_at is not None and now < starts_at:
        return f"Its time begins at {time_text(flag['starts_at'])}."
    if flag["enabled"] and ends_at is not None and now >= ends_at:
        return f"Its time was over at {time_text(flag['ends_at'])}."
    return ""


def answer_text(answer: bool | str) -> str:
    """A default or a named user's answer: a variant's name, or allow or refuse."""
    return answer if isinstance(answer, str) else ("allow" if answer else "refuse")


@page.dialog("Switch a flag")
def _ask(flag: dict[str, Any]) -> None:
    word = "off" if flag["enabled"] else "on"
    st.markdown(f"Switch `{flag['key']}` **{word}** for every app? It counts at once.")
    if flag["enabled"]:
        st.markdown(f"Everybody then gets the default, {code(answer_text(flag['default']))}.")
    note = st.text_input("Note", placeholder="Why, for the history (may be empty)", max_chars=500)
    if st.button(f"Switch {word}", type="primary", icon=":material/power_settings_new:"):
        with page.refusals():
            noted = {"note": note} if note else {}
            signed_in().admin.change_flag(flag["key"], version=flag["version"], enabled=not flag["enabled"], **noted)
            forget()
            page.say(f"`{flag['key']}` is {word}")
            st.rerun()
