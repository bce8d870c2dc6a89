"""What somebody changed in the form of a definition and has not saved: kept for this tab, wherever they go meanwhile.

A draft is what differs from the definition in force. It is gone once it was saved or discarded, and with the tab. Where
somebody else saves another version meanwhile it stands on top of that one, and its page says so.

Streamlit forgets the fields of a form that a run did not draw. So a form begins with its draft when it is drawn anew;
while it is drawn, what it began with stays the same, and the fields are as they were typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import streamlit as st
from tinycdp.admin import DefinitionKind

from dashboard.definitions.kinds import Kind
from dashboard.markdown import plain
from dashboard.navigation import link
from dashboard.times import time_text

DRAFTS, FORM, FORMS = "drafts of definitions", "the form that is drawn", "forms that were begun anew"
#: With one more the oldest draft is dropped.
DRAFTS_MAX = 20
#: Drafts that are named beside every screen.
NAMED_MAX = 5


@dataclass(frozen=True)
class Draft:
    """The fields that differ from a definition, and the version that was in force when it was begun; None for none."""

    changes: dict[str, Any]
    version: int | None


@dataclass
class Form:
    """A form of a definition. `fields` are what it begins with, `name` is unique to it and its beginning."""

    kind: Kind
    key: str | None
    version: int | None
    name: str
    fields: dict[str, Any]
    #: A new definition's form as it is before anybody touched it; None until it was drawn once.
    untouched: dict[str, Any] | None = None


def form_of(kind: Kind, found: Mapping[str, Any]) -> Form:
    """The form of a definition as it is in force, with its draft, if there is one; of a new one, if it has no key."""
    key, version = found.get("key"), found.get("version")
    begun = st.session_state.setdefault(FORMS, {}).get((kind.name, key), 0)
    name = f"{kind.name} {key or '(new)'} {version} {begun}"
    form: Form | None = st.session_state.get(FORM)
    if form is None or form.name != name or owner_field(name) not in st.session_state:
        draft = draft_of(kind, key)
        form = Form(kind, key, version, name, {**found, **(draft.changes if draft else {})}, {} if draft else None)
        st.session_state[FORM] = form
    return form


def owner_field(name: str) -> str:
    """The key of a field that every form has: Streamlit knows it while the form is drawn."""
    return f"{name} owner"


def draft_of(kind: Kind, key: str | None) -> Draft | None:
    """The draft of a definition, or of the new one of this kind."""
    return _drafts().get((kind.name, key))


def keep(form: Form, changes: dict[str, Any]) -> None:
    """Keeps what differs."""
    drafts, before = _drafts(), draft_of(form.kind, form.key)
    drafts[form.kind.name, form.key] = Draft(changes, before.version if before else form.version)
    if len(drafts) > DRAFTS_MAX:
        del drafts[next(iter(drafts))]


def drop(kind: Kind, key: str | None) -> None:
    """Forgets a draft: it was saved, or nothing differs any more."""
    _drafts().pop((kind.name, key), None)


def badge_with_discard(form: Form) -> None:
    """Says that the form is not saved, and discards what was changed in it at a click."""
    st.markdown(":orange-badge[:material/edit: Not saved yet]")
    if st.button("Discard", type="tertiary", icon=":material/undo:", help="The form is as it was."):
        drop(form.kind, form.key)
        forms = st.session_state[FORMS]
        forms[form.kind.name, form.key] = forms.get((form.kind.name, form.key), 0) + 1
        st.rerun()


def say_what_came_between(found: Mapping[str, Any], draft: Draft | None) -> None:
    """Says that somebody saved another version since the draft was begun, which is on top of it now."""
    if draft is not None and draft.version != found["version"]:
        st.warning(
            f"Version {found['version']} was saved by {plain(found['author'])} at {time_text(found['updated_at'])}, "
            "after you had begun. Your changes stand on top of it: look at the difference before you save.",
            icon=":material/group:",
        )


def show_drafts() -> None:
    """Names the drafts of this tab, each with a link to its form."""
    drafts = list(_drafts())
    if not drafts:
        return
    st.caption(f":material/edit: Unsaved in this tab: {len(drafts)}")
    for kind, key in drafts[-NAMED_MAX:]:
        query = {"new": "1"} if key is None else {"key": key}
        link(f"{kind}s", f"{kind} {plain(key)}" if key else f"new {kind}", **query)


def _drafts() -> dict[tuple[DefinitionKind, str | None], Draft]:
    drafts: dict[tuple[DefinitionKind, str | None], Draft] = st.session_state.setdefault(DRAFTS, {})
    return drafts
