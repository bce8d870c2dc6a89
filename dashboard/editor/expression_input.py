"""An expression on a screen: built from parts, or written as text, as its author likes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from dashboard.editor.expression_builder import expression_builder
from dashboard.editor.expression_editor import DefinitionKind, expression_editor
from dashboard.editor.words import words

_MODES = ("Builder", "Text")


@dataclass
class _Memory:
    """The text that the page gave last, the one that it got, and which of the two was drawn first and last."""

    given: str
    current: str
    first_mode: str
    mode: str = ""

    def __post_init__(self) -> None:
        self.mode = self.first_mode


def expression_input(kind: DefinitionKind, text: str, *, key: str, disabled: bool = False, **settings: Any) -> str:
    """The text as it stands, whichever of the two it was changed in: `text` until somebody changes it.

    An empty text begins with the builder, another one as text. It takes another `text` over as `expression_editor`
    does, whose `settings` it has. What was not saved is forgotten once a page is drawn without it.
    """
    memory = f"{key}.input"
    if f"{key}.mode" not in st.session_state:  # Streamlit forgets a widget that a run did not draw; so do we
        st.session_state.pop(f"{key}.builder.shown", None)
        st.session_state[memory] = _Memory(text, text, "Text" if text.strip() else "Builder")
    known: _Memory = st.session_state[memory]
    chosen = str(
        st.segmented_control(
            "Write it with",
            _MODES,
            default=known.first_mode,
            required=True,
            key=f"{key}.mode",
            label_visibility="collapsed",
            disabled=disabled,
        )
    )
    current = known.current if text in (known.given, known.current) else text

    def draw(mode: str, current: str) -> str:
        if mode == "Builder" and not disabled:
            return expression_builder(kind, current, words(), key=f"{key}.builder")
        return expression_editor(kind, current, key=f"{key}.text", disabled=disabled, **settings)

    if chosen != known.mode:
        # What was changed last in the other one came with the click on the switch: it is read before that one goes.
        gone = st.empty()
        with gone.container():
            current = draw(known.mode, current)
        gone.empty()
    current = draw(chosen, current)
    if chosen == "Builder" and not disabled:
        # An example would look like what was built.
        shown = {**settings, "hint": "What you choose stands here as text."}
        expression_editor(kind, current, key=f"{key}.shown", disabled=True, **shown)
    known.given, known.current, known.mode = text, current, chosen
    return current
