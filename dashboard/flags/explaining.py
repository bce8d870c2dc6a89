"""A decision as people read it: the answer, the steps it took, and the tree of values behind it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.markdown import code, plain
from dashboard.times import ms_text, time_text
from dashboard.values import value_text

#: What the reasons of a decision mean.
REASONS = {
    "STATIC": "the rule says the same of everybody",
    "DEFAULT": "the rule or a prerequisite says no",
    "TARGETING_MATCH": "the rule, or being named, says so",
    "SPLIT": "the rollout or the buckets say so",
    "DISABLED": "the flag is off, or its time is not now",
    "STALE": "what it needs is not computed yet",
    "ERROR": "it could not be evaluated",
    "CACHED": "an answer that was kept",
    "UNKNOWN": "no reason is known",
}
#: Levels of a tree that are open at first.
OPEN_LEVELS = 2


def decision(decided: dict[str, Any]) -> None:
    """One decision, whole."""
    allow = decided["allow"]
    value = value_text(decided["value"])
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(":green-badge[:material/check: allow]" if allow else ":red-badge[:material/close: refuse]")
            if decided.get("variant"):
                st.markdown(f"variant {code(decided['variant'])}")
            if value not in ("true", "false", decided.get("variant")):
                st.markdown(f"value {code(value)}")
            st.caption(f"{decided['reason']}: {REASONS.get(decided['reason'], '')}")
        if decided.get("valid_until"):
            st.caption(f"Changes by time alone not before {time_text(decided['valid_until'])}.")
        if decided.get("explanation"):
            explanation(decided["explanation"])


def explanation(found: dict[str, Any]) -> None:
    """The tree of an explanation, with the steps of a flag before it."""
    steps = found.get("steps") or []
    if steps:
        st.markdown(" → ".join(_step(step) for step in steps))
    st.markdown("\n".join(_lines(found, 0)))


def _step(step: dict[str, Any]) -> str:
    facts = {name: value for name, value in step.items() if name not in ("step", "passed") and value is not None}
    more = ", ".join(f"{name} {plain(_fact(value))}" for name, value in facts.items())
    mark = ":green[:material/check:]" if step.get("passed") else ":red[:material/close:]"
    return f"{mark} {step['step']}" + (f" ({more})" if more else "")


def _fact(value: Any) -> str:
    """A fact of a step. The decision of another flag is told in a word or two."""
    if isinstance(value, dict) and "allow" in value:
        return " ".join(filter(None, ["allow" if value["allow"] else "refuse", value.get("variant")]))
    return value_text(value)


def _lines(node: dict[str, Any], level: int) -> list[str]:
    """A node as an item of a list, with its parts below it."""
    named = f"{node['kind']} **{node['key']}** = " if "key" in node else ""
    value = node.get("value")
    # A rule is true or false; it has no value where a step before it decided.
    answer = "not asked" if value is None and node.get("kind") == "flag" else code(value_text(value))
    line = f"{named}{code(node['text'])} → {answer}"
    if "threshold" in node:
        line += f" (threshold {plain(value_text(node['threshold']))})"
    if node.get("left_out"):
        line += f" and {node['left_out']} more"
    if node.get("changes_at"):
        line += f" · changes {ms_text(node['changes_at'])}"
    if node.get("not_explained_further"):
        line += f" · not explained further: {plain(node['not_explained_further'])}"
    below = [node["definition"]] if node.get("definition") else list(node.get("parts") or [])
    return [f"{'  ' * level}- {line}", *(line for part in below for line in _lines(part, level + 1))]
