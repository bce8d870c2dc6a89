"""One definition: its head, and the form that changes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st
from tinycdp import ApiError, NotFound

from dashboard import page
from dashboard.access import signed_in
from dashboard.definitions.deleting import ask_to_delete, links_to
from dashboard.definitions.describing import notes_form
from dashboard.definitions.difference import changed, difference
from dashboard.definitions.drafts import badge_with_discard, draft_of, drop, form_of, keep, say_what_came_between
from dashboard.definitions.impact import impact, impact_of_delete
from dashboard.definitions.kinds import Kind, definition
from dashboard.definitions.saving import NOTHING, ask_to_save
from dashboard.editor.expression_editor import formatted
from dashboard.expression import expression_field
from dashboard.markdown import code, plain
from dashboard.times import time_text
from dashboard.workspace import may_change

#: The fields of a kind beyond those of all kinds, as they stand in the form.
MoreFields = Callable[[dict[str, Any], str, bool], dict[str, Any]]


def found_or_gone(kind: Kind, key: str) -> dict[str, Any] | None:
    """The definition of a key, with its head drawn; None for one that does not exist (any more), which is said."""
    try:
        found = definition(kind.name, key)
    except NotFound:
        page.back_header(key, kind.title)
        st.error(f"{kind.name.capitalize()} {code(key)} not found", icon=":material/error:")
        return None
    except ApiError as error:
        page.back_header(key, kind.title)
        page.refusal(error)
        return None
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container():
            page.back_header(found["key"], kind.title, plain(found["description"]))
            st.caption(_facts(found))
        if may_change() and st.button("Delete", icon=":material/delete:"):
            ask_to_delete(kind, found)
    return found


def before_a_delete(kind: Kind, found: dict[str, Any]) -> None:
    """What stands against the delete of a definition: what uses it, or whom it would be gone for."""
    if found.get("used_by"):
        used_by(found)
    elif may_change():
        with page.refusals():
            impact_of_delete(kind, found["key"])


def _facts(found: dict[str, Any]) -> str:
    facts = [f"Version {found['version']}, by {plain(found['author'])}, {time_text(found['updated_at'])}"]
    if found.get("size") is not None:
        facts.append(f"{found['size']:,} users at the last full rebuild")
    if found["owner"]:
        facts.append(f"owner {plain(found['owner'])}")
    facts += [f":gray-badge[{plain(tag)}]" for tag in found["tags"]]
    if found.get("history") == "pending":
        facts.append(":orange-badge[its history waits for the lake]")
    return " · ".join(facts)


def used_by(found: dict[str, Any]) -> None:
    """What uses a definition, each with a link."""
    if found.get("used_by"):
        with st.container(border=True):
            st.markdown("**Used in**")
            links_to(found["used_by"])


def edit(kind: Kind, found: dict[str, Any], more: MoreFields | None = None) -> dict[str, Any]:
    """The form of a definition as it stands, with the button that saves what differs.

    What differs is kept until it is saved or discarded (`drafts`).
    """
    disabled = not may_change()
    say_what_came_between(found, draft_of(kind, found["key"]))
    form = form_of(kind, found)
    key = form.name
    expression = expression_field(
        kind.name,
        form.fields[kind.field] or "",
        label=kind.field.capitalize(),
        hint=kind.example,
        key=f"{key} text",
        saved_as=found["key"],
        disabled=disabled,
        on_save=lambda: st.session_state.update({f"{key} saves": True}),
    )
    draft = {**found, kind.field: _as_sent(kind, expression)}
    if more is not None:
        draft |= more(form.fields, key, disabled)
    draft |= notes_form(form.fields, key=key, disabled=disabled)
    if disabled:
        st.caption("Your key shows and changes nothing.")
        return draft
    differs = difference(found, draft) != ""
    if differs:
        keep(form, changed(found, draft))
    else:
        drop(kind, found["key"])
    asked_by_key = st.session_state.pop(f"{key} saves", False)
    with st.container(horizontal=True, vertical_alignment="center"):
        asked = st.button("Save …", type="primary", disabled=not differs, icon=":material/save:")
        if differs and (asked or asked_by_key):
            if expression != (found[kind.field] or ""):
                draft[kind.field] = _as_sent(kind, formatted(kind.name, expression))
            ask_to_save(kind, found["key"], found, draft)
        if differs:
            badge_with_discard(form)
    if differs:
        with page.refusals():
            impact(kind, found["key"], found, draft)
    return draft


def _as_sent(kind: Kind, expression: str) -> str | None:
    """An expression as the API takes it: a flag without one is for everybody, and of others it says that one lacks."""
    return expression if expression.strip() or kind.name != "flag" else None


def create(kind: Kind, more: MoreFields | None = None) -> None:
    """The form of a new definition."""
    page.back_header(f"New {kind.name}", kind.title, f"A {kind.name} is {kind.is_what}.")
    if not may_change():
        page.empty(f"A new {kind.name} takes an admin's key", "Yours shows and changes nothing.", ":material/lock:")
        return
    form = form_of(kind, {})
    name, fields = form.name, form.fields
    key = st.text_input(
        "Key",
        fields.get("key", ""),
        key=f"{name} key",
        placeholder=f"{kind.example_key}, for example",
        max_chars=100,
    )
    saves = f"new {kind.name} saves"
    expression = expression_field(
        kind.name,
        fields.get(kind.field) or "",
        label=kind.field.capitalize(),
        hint=kind.example,
        key=f"{name} text",
        saved_as=key,
        on_save=lambda: st.session_state.update({saves: True}),
    )
    draft: dict[str, Any] = {kind.field: expression}
    if more is not None:
        draft |= more({name: value for name, value in fields.items() if name != "key"}, name, False)
    draft |= notes_form(fields, key=name, disabled=False)
    written = {"key": key or "", **draft}
    if form.untouched is None:
        form.untouched = written
    is_whole = bool(key) and (bool(expression.strip()) or kind.name == "flag")
    with st.container(horizontal=True, vertical_alignment="center"):
        asked = st.button("Save …", type="primary", disabled=not is_whole, icon=":material/save:")
        if written != form.untouched:
            keep(form, written)
            badge_with_discard(form)
        else:
            drop(kind, None)
    if (st.session_state.pop(saves, False) or asked) and is_whole:
        with page.refusals():
            if _is_right(kind, key or "", expression):
                ask_to_save(kind, key or "", NOTHING, {**draft, kind.field: formatted(kind.name, expression)})
    if is_whole:
        with page.refusals():
            impact(kind, key or "", NOTHING, draft)


def _is_right(kind: Kind, key: str, expression: str) -> bool:
    """Whether an expression may be saved; if not, the API's words are shown."""
    if not expression.strip():
        return True
    checked = signed_in().admin.validate(kind.name, expression, parts=["text"], key=key)
    if not checked["valid"]:
        st.error(plain(checked.get("error") or "The expression is wrong."), icon=":material/error:")
    return checked["valid"]
