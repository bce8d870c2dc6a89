"""An expression on a screen: where it is written, and where it is only read."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from tinycdp.admin import DefinitionKind

from dashboard.editor.expression_input import expression_input


def expression_field(
    kind: DefinitionKind,
    text: str,
    *,
    label: str,
    hint: str,
    key: str,
    saved_as: str | None = None,
    disabled: bool = False,
    on_save: Callable[[], None] | None = None,
) -> str:
    """The text as it stands in the form; a flag may have none. `hint` is an example; see `expression_editor`."""
    st.caption(label)
    return expression_input(
        kind,
        text,
        key=key,
        label=label,
        hint=hint,
        saved_as=saved_as,
        optional=kind == "flag",
        disabled=disabled,
        on_save=on_save,
    )


def expression_text(text: str) -> None:
    """An expression to be read and copied."""
    st.code(text or "true", language="javascript", wrap_lines=True)
