"""Traits: their list, and one of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from dashboard.address import section
from dashboard.definitions import detail
from dashboard.definitions.history import history
from dashboard.definitions.kinds import TRAIT
from dashboard.definitions.listing import list_screen
from dashboard.definitions.previewing import preview
from dashboard.definitions.screen import definition_screen

TITLE = "Traits"
ICON = ":material/function:"


def show() -> None:
    """The list, or the trait that the URL names."""
    definition_screen(TRAIT, _one, _list)


def _list() -> None:
    list_screen(TRAIT, {"expression": st.column_config.TextColumn("Expression", width=240)})


def _one(found: dict[str, Any]) -> None:
    key = found["key"]
    match section(["Definition", "Values", "History"]):
        case "Values":
            preview(TRAIT, found["expression"])
        case "History":
            history(TRAIT, key, found["version"])
        case _:
            detail.edit(TRAIT, found)
            detail.before_a_delete(TRAIT, found)
