"""Flags: their list, and one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from tinycdp.admin_types import FlagActivity

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
from dashboard.times import instant

TITLE = "Flags"
ICON = ":material/flag:"


def show() -> None:
    """The list, or the flag that the URL names."""
    definition_screen(FLAG, _one, _list, flag_options)


def _list() -> None:
    asked = {one["key"]: one for one in flags_activity()["flags"]}
    list_screen(
        FLAG,
        {
            "state": st.column_config.TextColumn("State", width=76),
            "rule": st.column_config.TextColumn("Rule", width=100),
            "answers": st.column_config.TextColumn("Answers", width=84),
            "asked": st.column_config.TextColumn("Last asked", width=88, help="By name, not in bulk."),
        },
        lambda flag: in_list(flag, asked.get(flag["key"])),
    )


def in_list(flag: Mapping[str, Any], activity: FlagActivity | None) -> dict[str, Any]:
    """What a row of the list says of a flag, and of what it answered apps; None where nothing is known of that."""
    state = "not now" if why_not_now(flag) else "on" if flag["enabled"] else "off"
    variants = ", ".join(one["name"] for one in flag["variants"])
    rollout = "" if flag["rollout"] == 100 else f"{flag['rollout']:g} %"
    at = instant(activity["lastAsked"]) if activity else None
    return {
        "state": state + (", stale" if activity and activity["stale"] else ""),
        "rule": flag["rule"] or "true",
        "answers": " · ".join(filter(None, (rollout, variants))),
        "asked": f"{at:%Y-%m-%d}" if at else None,
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
            detail.before_a_delete(FLAG, found)
