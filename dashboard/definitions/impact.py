"""Whom an edit would change anything for: who enters and leaves, and which decisions become which.

An edit is a draft of what is there or new, a flag's switch, an older version that is brought back, or a delete. Its
effect is computed once somebody asks for it: it takes seconds, and more over many events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.analyses import analysis
from dashboard.definitions.difference import KEPT_BY_THE_SYSTEM, changed
from dashboard.definitions.kinds import Kind
from dashboard.markdown import code, plain
from dashboard.times import time_text

#: Fields of a definition that no answer depends on, or that follow from others.
WITHOUT_EFFECT = ("description", "owner", "tags", *KEPT_BY_THE_SYSTEM)


def impact(
    kind: Kind, key: str, before: Mapping[str, Any], after: Mapping[str, Any], label: str = "Who is affected?"
) -> None:
    """The effect of saving `after` in place of `before`, which is empty for a new definition."""
    differing = {name: value for name, value in changed(before, after).items() if name not in WITHOUT_EFFECT}
    if not before:  # it says of its settings those alone that it has
        differing = {name: value for name, value in differing.items() if value not in (None, "", [], {})}
    if not differing or not _is_asked(kind, key, label, differing):
        return
    settings = {name: value for name, value in differing.items() if name != kind.field}
    text = str(after.get(kind.field) or "true")
    analysis("impact", kind.name, text, _draw, key=key, flag=settings if kind.name == "flag" and settings else None)


def impact_of_delete(kind: Kind, key: str) -> None:
    """The effect of deleting a definition that nothing else uses."""
    if _is_asked(kind, key, "Who would miss it?", None):
        analysis("impact", kind.name, None, _draw, key=key, deleted=True)


def impact_of_version(kind: Kind, key: str, version: int) -> None:
    """The effect of bringing a version back."""
    if _is_asked(kind, key, f"Impact of version {version}", None):
        analysis("impact", kind.name, None, _draw, key=key, version=version)


def _is_asked(kind: Kind, key: str, label: str, edit: Any) -> bool:
    """Whether somebody asked for the effect of this edit, by the button that this draws.

    Of a definition one is shown at a time: the API, too, leaves the one that was asked for before.
    """
    question = f"impact of {kind.name} {key}"

    def ask() -> None:
        st.session_state[question] = label, edit

    st.button(label, icon=":material/difference:", key=f"ask for {question}: {label}", on_click=ask)
    return bool(st.session_state.get(question) == (label, edit))


def _draw(result: dict[str, Any]) -> None:
    reached = [one for one in result["definitions"] if one["changed"] or one["before"] != one["after"]]
    if not reached:
        st.success("It changes nothing for anybody at this moment.", icon=":material/check:")
    for one in reached:
        with st.container(border=True):
            st.markdown(
                f"{one['kind']} **{one['key']}**: {one['before']:,} → {one['after']:,} people"
                f" · :green[{one['enters']['count']:,} enter] · :red[{one['leaves']['count']:,} leave]"
                f" · {one['changed']:,} changed"
            )
            _some("enter", one["enters"])
            _some("leave", one["leaves"])
            for change in one["decisions"]:
                st.caption(f"{change['count']:,}: {_decided(change['before'])} → {_decided(change['after'])}")
    if result["left_out"]:
        st.caption(f"{result['left_out']} definitions that change less are left out.")
    st.caption(f"Of {result['total']:,} people, as of {time_text(result['asof'])}.")


def _some(word: str, people: Mapping[str, Any]) -> None:
    if people["sample"]:
        st.caption(f"Some who {word}: " + ", ".join(map(code, people["sample"][:5])))


def _decided(decision: Mapping[str, Any]) -> str:
    return plain(decision["variant"]) if decision["variant"] else ("allow" if decision["allow"] else "refuse")
