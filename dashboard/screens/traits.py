"""Traits: their list, and one of them."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st
from tinycdp import NotFound

from dashboard import page
from dashboard.definitions import detail
from dashboard.definitions.history import history
from dashboard.definitions.kinds import TRAIT
from dashboard.definitions.listing import list_screen
from dashboard.definitions.previewing import preview

TITLE = "Traits"
ICON = ":material/function:"


def show() -> None:
    """The list, or the trait that the URL names."""
    key = st.query_params.get("key")
    if key is not None:
        _one(key)
    elif "new" in st.query_params:
        detail.create(TRAIT)
    else:
        list_screen(TRAIT, {"expression": st.column_config.TextColumn("Expression", width="large")})


def _one(key: str) -> None:
    found = detail.found_or_gone(TRAIT, key)
    if found is None:
        with suppress(NotFound):  # there never was one, as was said already
            history(TRAIT, key, None)
        return
    match page.sections(["Definition", "Values", "History"]):
        case "Values":
            preview(TRAIT, found["expression"], "people with a value")
        case "History":
            history(TRAIT, key, found["version"])
        case _:
            detail.edit(TRAIT, found)
            detail.used_by(found)
