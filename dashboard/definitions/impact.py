"""Whom an edit would change anything for: who enters and leaves, and which decisions become which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.analyses import analysis
from dashboard.definitions.difference import changed
from dashboard.definitions.kinds import Kind
from dashboard.markdown import code, plain
from dashboard.times import time_text

#: Fields of a definition that no answer depends on.
NOTES = ("description", "owner", "tags")


def impact(kind: Kind, found: Mapping[str, Any], draft: Mapping[str, Any]) -> None:
    """The effect of saving a draft, once somebody asks for it: it takes seconds, and more over many events."""
    differing = {name: value for name, value in changed(found, draft).items() if name not in NOTES}
    if not differing:
        return
    question = f"impact of {kind.name} {found['key']}"
    if st.button("Who is affected?", icon=":material/difference:"):
        st.session_state[question] = differing
    if st.session_state.get(question) != differing:
        return
    settings = {name: value for name, value in differing.items() if name != kind.field}
    analysis(
        "impact",
        kind.name,
        str(draft.get(kind.field) or "true"),
        _draw,
        key=found["key"],
        flag=settings or None,
    )


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
