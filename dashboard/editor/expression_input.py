"""An expression on a screen: built from parts, or written as text, as its author likes."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.editor.expression_builder import expression_builder
from dashboard.editor.expression_editor import DefinitionKind, expression_editor
from dashboard.editor.words import words

_MODES = ("Builder", "Text")


def expression_input(kind: DefinitionKind, text: str, *, key: str, disabled: bool = False, **settings: Any) -> str:
    """The text as it stands, whichever of the two it was changed in: `text` until somebody changes it.

    An empty text begins with the builder, another one as text. It takes another `text` over as `expression_editor`
    does, whose `settings` it has.
    """
    memory = f"{key}.input"
    st.session_state.setdefault(f"{key}.mode", "Text" if text.strip() else "Builder")
    chosen = str(
        st.segmented_control(
            "Write it with", _MODES, required=True, key=f"{key}.mode", label_visibility="collapsed", disabled=disabled
        )
    )
    given, current, before = st.session_state.get(memory, (text, text, chosen))
    if text not in (given, current):
        current = text

    def draw(mode: str, current: str) -> str:
        if mode == "Builder" and not disabled:
            return expression_builder(kind, current, words(), key=f"{key}.builder")
        return expression_editor(kind, current, key=f"{key}.text", disabled=disabled, **settings)

    if chosen != before:
        # What was changed last in the other one came with the click on the switch: it is read before that one goes.
        gone = st.empty()
        with gone.container():
            current = draw(before, current)
        gone.empty()
    current = draw(chosen, current)
    if chosen == "Builder" and not disabled:
        expression_editor(kind, current, key=f"{key}.shown", disabled=True, **settings)
    st.session_state[memory] = (text, current, chosen)
    return current
