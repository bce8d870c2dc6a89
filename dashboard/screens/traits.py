"""Traits: the list."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin

from dashboard import page
from dashboard.answers import remembered
from dashboard.tables import table
from dashboard.times import instant

TITLE = "Traits"
ICON = ":material/function:"


@remembered(30)
def traits(admin: Admin) -> list[dict[str, Any]]:
    """All traits, by key."""
    return admin.definitions("trait", limit=1000)


def show() -> None:
    """The list of traits."""
    page.header("Traits", "A computed value per user.")
    rows = [{**trait, "updated": instant(trait["updated_at"])} for trait in traits()]
    if not rows:
        page.empty("No traits yet", "Create one with `POST /v1/admin/traits`, or `tinycdp demo`.")
        return
    table(
        rows,
        {
            "key": st.column_config.TextColumn("Key", pinned=True),
            "expression": st.column_config.TextColumn("Expression", width="large"),
            "owner": st.column_config.TextColumn("Owner"),
            "updated": st.column_config.DatetimeColumn("Last change"),
        },
        key="traits",
        id_of="key",
    )
