"""The fields that every definition has besides its expression: notes for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from dashboard.definitions.drafts import owner_field


def notes_form(saved: Mapping[str, Any], *, key: str, disabled: bool) -> dict[str, Any]:
    """Description, owner and tags as they stand in the form."""
    description = st.text_area(
        "Description", saved.get("description", ""), key=f"{key} description", height=80, disabled=disabled
    )
    left, right = st.columns(2)
    owner = left.text_input("Owner", saved.get("owner", ""), key=owner_field(key), disabled=disabled)
    tags = right.multiselect(
        "Tags",
        saved.get("tags", []),
        default=saved.get("tags", []),
        accept_new_options=True,
        key=f"{key} tags",
        placeholder="Add a tag",
        disabled=disabled,
    )
    return {"description": description or "", "owner": owner or "", "tags": list(tags)}
