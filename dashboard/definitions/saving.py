"""Saves a definition after a look at the difference, unless somebody else has saved another one meanwhile."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import PreconditionFailed

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import open_query
from dashboard.answers import forget
from dashboard.definitions.difference import changed, difference
from dashboard.definitions.drafts import drop
from dashboard.definitions.kinds import Kind
from dashboard.markdown import code, plain
from dashboard.times import time_text

#: A new definition was made from nothing.
NOTHING: dict[str, Any] = {}


@page.dialog("Save", width="large")
def ask_to_save(kind: Kind, key: str, before: dict[str, Any], draft: dict[str, Any]) -> None:
    """Shows what is to be saved beside what is in force, and saves it. `before` is empty for a new definition."""
    st.markdown(f"**{kind.name}** {code(key)}" + ("" if before else " is new"))
    _show(difference(before, draft))
    if kind.name == "flag" and not draft.get(kind.field):  # a builder that is not finished gives no rule, either
        st.warning("Without a rule the flag is for everybody.", icon=":material/public:")
    with page.refusals():
        warnings = _warnings(kind, key, draft)
        for warning in warnings:
            st.warning(plain(warning), icon=":material/warning:")
    note = st.text_input("Note", placeholder="Why, for the history (may be empty)", max_chars=500)
    if st.button("Save", type="primary", key="save it"):
        with page.refusals():
            _save(kind, key, before, draft, note or "")


def _warnings(kind: Kind, key: str, draft: dict[str, Any]) -> list[str]:
    expression = draft.get(kind.field)
    if not expression:
        return []
    checked = signed_in().admin.validate(kind.name, expression, parts=["warnings"], key=key)
    return list(checked.get("warnings") or [])


def _save(kind: Kind, key: str, before: dict[str, Any], draft: dict[str, Any], note: str) -> None:
    admin, path = signed_in().admin, f"/v1/admin/{kind.path}"
    noted = {"note": note} if note else {}
    try:
        if before:
            admin.call(
                "PUT",
                f"{path}/{key}",
                {kind.field: draft.get(kind.field), **changed(before, draft), **noted},
                headers={"If-Match": f'"{before["version"]}"'},
            )
        else:
            sent = {name: value for name, value in draft.items() if value not in (None, "", [], {})}
            admin.call("POST", path, {"key": key, **sent, **noted})
    except PreconditionFailed as error:
        forget()  # the form behind begins from what is in force now
        theirs = error.details.get("definition") or {}
        if not theirs or difference(draft, theirs):
            _show_theirs(before, theirs, error)
            return
        # It is what was to be saved: by the same save before, whose answer was lost.
    forget()
    drop(kind, key if before else None)
    page.say(f"Saved: {kind.name} {code(key)}")
    open_query(key=key)


def _show_theirs(before: dict[str, Any], theirs: dict[str, Any], error: PreconditionFailed) -> None:
    """What was saved meanwhile, since the version that this person started from."""
    st.error(plain(error.message), icon=":material/group:")
    author, at = plain(theirs.get("author", "somebody")), time_text(theirs.get("updated_at"))
    st.markdown(f"Saved by **{author}** at {at}, and changed there:")
    _show(difference(before, theirs))
    st.caption(
        "Nothing of yours was saved. Close this: your changes are kept, on top of what is in force now. Look at the "
        "difference, and save again."
    )


def _show(text: str) -> None:
    if text:
        st.code(text, language="diff", wrap_lines=True)
    else:
        st.caption("Nothing differs.")
