"""Flags: their list, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.address import section
from dashboard.definitions import detail
from dashboard.definitions.history import history
from dashboard.definitions.kinds import FLAG
from dashboard.definitions.listing import list_screen
from dashboard.definitions.screen import definition_screen
from dashboard.flags.activity import activity, flags_activity
from dashboard.flags.options import flag_options
from dashboard.flags.people import people
from dashboard.flags.switch import switch, why_not_now
from dashboard.flags.trial import trial

TITLE = "Flags"
ICON = ":material/flag:"


def show() -> None:
    """The list, or the flag that the URL names."""
    definition_screen(FLAG, _one, _list, flag_options)


def _list() -> None:
    stale = {one["key"] for one in flags_activity()["flags"] if one["stale"]}
    list_screen(
        FLAG,
        {
            "state": st.column_config.TextColumn("State", width=80),
            "rule": st.column_config.TextColumn("Rule", width=160),
            "answers": st.column_config.TextColumn("Answers", width=90),
        },
        lambda flag: in_list(flag, stale),
    )


def in_list(flag: Mapping[str, Any], stale: set[str]) -> dict[str, Any]:
    """What a row of the list says of a flag; `stale` are the keys of those that no app names any more."""
    state = "not now" if why_not_now(flag) else "on" if flag["enabled"] else "off"
    variants = ", ".join(one["name"] for one in flag["variants"])
    rollout = "" if flag["rollout"] == 100 else f"{flag['rollout']:g} %"
    return {
        "state": state + (", stale" if flag["key"] in stale else ""),
        "rule": flag["rule"] or "true",
        "answers": " · ".join(filter(None, (rollout, variants))),
    }


def _one(found: dict[str, Any]) -> None:
    key = found["key"]
    switch(found)
    match section(["Definition", "Test", "Activity", "People", "History"]):
        case "Test":
            trial(key)
        case "Activity":
            activity(key)
        case "People":
            people(found)
        case "History":
            history(FLAG, key, found["version"])
        case _:
            detail.edit(FLAG, found, flag_options)
            detail.used_by(found)
