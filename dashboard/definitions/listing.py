"""The list of the definitions of a kind: searched as one types, opened by a click."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import page
from dashboard.address import in_address, open_query
from dashboard.definitions.kinds import Kind, definitions
from dashboard.tables import table
from dashboard.times import instant
from dashboard.workspace import may_change

SEARCHED = ("key", "description", "owner")


def list_screen(
    kind: Kind,
    columns: Mapping[str, Any],
    shown: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda row: row,
) -> None:
    """The screen's list. `columns` stand between the key and the columns of all kinds; `shown` gives their fields."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        page.header(kind.title, f"{kind.is_what[0].upper()}{kind.is_what[1:]}.")
        if may_change() and st.button(f"New {kind.name}", type="primary", icon=":material/add:"):
            open_query(new="1")
    every = definitions(kind.name)
    if not every:
        page.empty(
            f"No {kind.name}s yet",
            f"A {kind.name} is {kind.is_what}. Make one with *New {kind.name}*, for example `{kind.example}`.",
        )
        return
    text = st.text_input(
        "Search",
        **in_address(f"find_{kind.name}"),  # its own: what is typed here is asked of no other screen
        type="search",
        live="300ms",
        placeholder="Key, text, owner, tag",
        label_visibility="collapsed",
    )
    rows = [row for row in every if matches(row, kind, text or "")]
    if not rows:
        page.empty(f"No {kind.name} matches", "Search for a part of a key, an expression, an owner or a tag.")
        return
    st.caption(f"{len(rows)} of {len(every)}" if text else f"{len(every)} {kind.name}s")
    picked = table(
        [{**shown(row), **_of_all(row)} for row in rows],
        {
            "key": st.column_config.TextColumn("Key", width=150),
            **columns,
            **_columns(rows),
            "updated": st.column_config.TextColumn("Last change", width=128),
        },
        key=kind.path,
        id_of="key",
    )
    if picked is not None:
        open_query(key=picked)


def matches(row: Mapping[str, Any], kind: Kind, text: str) -> bool:
    """Whether every word of a text is somewhere in a definition's key, expression, notes, owner or tags."""
    hay = "\n".join([str(row.get(name) or "") for name in (*SEARCHED, kind.field)] + row["tags"]).lower()
    return all(word in hay for word in text.lower().split())


def _of_all(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": row["key"],
        "owner": row["owner"],
        "tags": row["tags"],
        "size": row["size"],
        "used_by": [user.partition(":")[2] for user in row["used_by"]],
        "updated": f"{instant(row['updated_at']):%Y-%m-%d %H:%M}",
    }


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns of all kinds, without those that are empty. All fit on a screen of 1280, and grow with a wider one."""
    columns = {
        "size": st.column_config.NumberColumn("Users", format="localized", width=70),
        "used_by": st.column_config.ListColumn("Used in", width=120),
        "owner": st.column_config.TextColumn("Owner", width=80),
        "tags": st.column_config.ListColumn("Tags", width=90),
    }
    return {name: column for name, column in columns.items() if any(row[name] not in (None, "", []) for row in rows)}
