"""People whom an analysis found: how many, and the first of them by id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import page
from dashboard.navigation import go
from dashboard.tables import PEOPLE_ROWS, pager, table


def first_people(rows: Sequence[Mapping[str, Any]], count: int, columns: Mapping[str, Any], *, others: str) -> None:
    """A page of the people who are listed, of `count` in all; a click on one opens them.

    `others` says where the rest is.
    """
    if not rows:
        page.empty("No ids", "Somebody was deleted since this was computed, so it shows nobody: compute it again.")
        return
    if count > len(rows):
        st.caption(f"The first {len(rows):,} by id of {count:,} are listed. {others}")
    place = st.container()
    offset = pager(len(rows), key="page", rows=PEOPLE_ROWS)
    with place:
        picked = table(rows[offset : offset + PEOPLE_ROWS], columns, key="people found", id_of="id")
    if picked is not None:
        go("users", id=picked)
