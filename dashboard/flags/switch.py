"""Switches a flag on or off, after a person said yes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.answers import forget
from dashboard.markdown import code
from dashboard.workspace import may_change


def switch(flag: dict[str, Any]) -> None:
    """The state of a flag, and the button that changes it."""
    is_on = flag["enabled"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(":green-badge[:material/toggle_on: on]" if is_on else ":gray-badge[:material/toggle_off: off]")
        st.markdown(
            "Its rule decides." if is_on else f"Everybody gets the default, {code(answer_text(flag['default']))}."
        )
        if may_change() and st.button("Switch off …" if is_on else "Switch on …"):
            _ask(flag)


def answer_text(answer: bool | str) -> str:
    """A default or a named user's answer: a variant's name, or allow or refuse."""
    return answer if isinstance(answer, str) else ("allow" if answer else "refuse")


@st.dialog("Switch a flag")
def _ask(flag: dict[str, Any]) -> None:
    word = "off" if flag["enabled"] else "on"
    st.markdown(f"Switch `{flag['key']}` **{word}** for every app? It counts at once.")
    if flag["enabled"]:
        st.markdown(f"Everybody then gets the default, {code(answer_text(flag['default']))}.")
    if st.button(f"Switch {word}", type="primary", icon=":material/power_settings_new:"):
        with page.refusals():
            signed_in().admin.change_flag(flag["key"], version=flag["version"], enabled=not flag["enabled"])
            forget()
            page.say(f"`{flag['key']}` is {word}")
            st.rerun()
