"""Every version of a definition, what changed in it, and the way back to it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import open_query
from dashboard.answers import forget
from dashboard.definitions.difference import difference
from dashboard.definitions.impact import impact_of_version
from dashboard.definitions.kinds import Kind, versions
from dashboard.markdown import code, plain
from dashboard.times import time_text
from dashboard.workspace import may_change

#: Versions that are shown at once; older ones on request.
SHOWN = 20


def history(kind: Kind, key: str, current: int | None) -> None:
    """The versions, the newest first. `current` is the one in force; None for a deleted definition."""
    found = versions(kind.name, key)
    if not found:
        page.empty("No versions", "The lake has none yet: they come with the next drain.")
        return
    count = st.session_state.get(f"versions of {kind.name} {key}", SHOWN)
    for version, older in zip(found[:count], [*found[1:], None], strict=False):
        with st.container(border=True):
            _version(kind, key, version, older, current)
    if len(found) > count and st.button(f"{len(found) - count} older"):
        st.session_state[f"versions of {kind.name} {key}"] = count + SHOWN
        st.rerun()


def _version(kind: Kind, key: str, version: dict[str, Any], older: dict[str, Any] | None, current: int | None) -> None:
    number = version["version"]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**Version {number}** · {time_text(version['updated_at'])} · {plain(version['author'])}"
            + (" · :green-badge[in force]" if number == current else "")
            + (" · :red-badge[deleted]" if version["deleted"] else "")
        )
        st.space("stretch")
        can = may_change() and number != current and not version["deleted"]
        if can and st.button("Bring back", key=f"back to {number}", icon=":material/history:"):
            ask_to_bring_back(kind, key, version, found_current(kind, key, current), current)
    if version.get("note"):
        st.caption(plain(version["note"]))
    text = difference({} if older is None else _fields(kind, older), _fields(kind, version))
    st.code(text or "Nothing differs from the version before.", language="diff" if text else None, wrap_lines=True)
    if can:
        with page.refusals():
            impact_of_version(kind, key, number)


def found_current(kind: Kind, key: str, current: int | None) -> dict[str, Any]:
    """The version that is in force, as `versions` has it; empty for a deleted definition."""
    return next((one for one in versions(kind.name, key) if one["version"] == current), {})


def _fields(kind: Kind, version: dict[str, Any]) -> dict[str, Any]:
    """A version's fields as a definition has them."""
    return {} if not version else {kind.field: version["expression"], **version["settings"]}


@page.dialog("Bring back", width="large")
def ask_to_bring_back(
    kind: Kind, key: str, version: dict[str, Any], in_force: dict[str, Any], current: int | None
) -> None:
    """Shows what will differ from what is in force, and saves the older version as a new one."""
    st.markdown(f"{kind.name} {code(key)} will be as in version {version['version']}, as a new version:")
    text = difference(_fields(kind, in_force), _fields(kind, version))
    st.code(text or "Nothing differs.", language="diff" if text else None, wrap_lines=True)
    note = st.text_input("Note", placeholder="Why, for the history (may be empty)", max_chars=500)
    if st.button("Bring back", type="primary", key="bring it back"):
        with page.refusals():
            signed_in().admin.rollback(kind.name, key, version["version"], current=current, note=note or None)
            forget()
            page.say(f"Brought back: version {version['version']} of {kind.name} {code(key)}")
            open_query(key=key)
