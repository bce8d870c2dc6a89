"""The editor of expressions on a page: a Streamlit component around the bundle, and the text that it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import streamlit as st

from dashboard.access import signed_in
from dashboard.console import console
from dashboard.editor import bundle

DefinitionKind: TypeAlias = Literal["trait", "segment", "flag"]

#: The whole of what Streamlit sends as code with every change of data: the browser keeps the file that it names.
MODULE = "export default async (c) => (await import(new URL(c.data.bundle, location.origin).href)).default(c);"
#: One of the component's own styles; those of the text are in the bundle, since they go with CodeMirror's.
STYLES = """
.expression-editor { font-family: var(--st-font); color: var(--st-text-color); }
.foot { font-size: 0.875rem; line-height: 1.5; margin-top: 0.35rem; min-height: 3em; }
.foot.stale { opacity: 0.6; }
.foot .format {
  background: transparent; border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
  color: inherit; cursor: pointer; float: right; font: inherit; padding: 0 0.6rem;
}
.foot .format:hover { border-color: var(--st-primary-color); color: var(--st-primary-color); }
.foot .format:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }
.foot .format[hidden] { display: none; }
.foot .notes { margin: 0; padding-left: 1.2rem; }
.foot .notes:empty { display: none; }
.verdict.valid { color: var(--st-green-text-color); }
.verdict.invalid { color: var(--st-red-text-color); }
.verdict.away { color: var(--st-orange-text-color); }
"""

_component = st.components.v2.component("tinycdp_expression_editor", css=STYLES, js=MODULE)


@dataclass
class _Given:
    """The text that the page gave last, the one that it got, and how often it gave one that was taken over."""

    text: str
    returned: str
    revision: int = 0


def expression_editor(
    kind: DefinitionKind,
    text: str,
    *,
    key: str,
    saved_as: str | None = None,
    label: str = "Expression",
    hint: str = "events.purchase.count_30d >= 3",
    optional: bool = False,
    counts: bool = True,
    disabled: bool = False,
    on_save: Callable[[], None] | None = None,
) -> str:
    """The text as it stands in the editor: `text` until somebody types.

    The editor keeps what is typed through reruns. It takes another `text` over, as after a rollback or from the
    builder: one that was neither given nor returned last, and that it does not hold. So a page may give the saved text
    each time, or what this returned.

    The page runs again half a second after the last key, once no list of completions is open, and when the editor is
    left. So a click on a button sees all that was typed.

    `key` is unique on the page. `saved_as` is the key of the definition, if it has one: cycles are told by it.
    `optional`: an empty text is well. `counts`: for how many people the expression holds is asked after a pause.
    `disabled`: it is shown and checked, not changed. `on_save` is called after Ctrl+S, which formats the text first; a
    page that saves by a button formats it with `formatted`.
    """
    memory = f"{key}.given"
    if key not in st.session_state:  # Streamlit forgets a component that a run did not draw; so do we
        st.session_state[memory] = _Given(text, text)
    given: _Given = st.session_state[memory]
    draft = _draft(st.session_state.get(key), given)
    if text not in (given.text, given.returned, draft):
        given.revision += 1
        draft = text
    given.text, given.returned = text, draft
    base = console().base_path
    _component(
        key=key,
        data={
            "bundle": f"{base}{bundle.PATH}/{bundle.file_name()}",
            "check": f"{base}{bundle.PATH}/check",
            "preview": f"{base}{bundle.PATH}/preview" if counts else None,
            "kind": kind,
            "key": saved_as,
            "text": draft,
            "revision": given.revision,
            "label": label,
            "hint": hint,
            "empty": "Empty: it holds for everybody." if optional else "Write an expression.",
            "disabled": disabled,
        },
        on_draft_change=_nothing,
        on_save_change=on_save or _nothing,
    )
    return draft


def formatted(kind: DefinitionKind, text: str) -> str:
    """The text as the language writes it, for a page that saves it; a text that is not valid stays as it is."""
    if not text.strip():
        return ""
    answer = signed_in().admin.validate(kind, text, parts=["text"])
    return (answer.get("text") or text) if answer["valid"] else text


def _draft(state: Any, given: _Given) -> str:
    """The text that the editor has sent, unless the page gave another one meanwhile."""
    draft = state.get("draft") if state else None
    if draft is None or draft["revision"] < given.revision:
        return given.returned
    return str(draft["text"])


def _nothing() -> None:
    """Streamlit keeps only the values that a callback is named for."""
