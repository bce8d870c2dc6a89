"""An expression on a screen: where it is written, and where it is only read."""

from __future__ import annotations

import streamlit as st
from tinycdp.admin import DefinitionKind

#: As the API takes.
CHARACTERS_MAX = 10_000


def expression_field(kind: DefinitionKind, text: str, *, label: str, key: str, disabled: bool = False) -> str:
    """The text as it stands in the form."""
    return st.text_area(label, text, key=key, max_chars=CHARACTERS_MAX, height=120, disabled=disabled) or ""


def expression_text(text: str) -> None:
    """An expression to be read and copied."""
    st.code(text or "true", language="javascript", wrap_lines=True)
