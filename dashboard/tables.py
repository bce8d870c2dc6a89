"""A table of rows, of which a person picks one by a click. What is picked is the row's id, never its position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import streamlit as st

#: Rows of a page of a list.
PAGE_ROWS = 50
ROW_PX, HEADER_PX, ROWS_SHOWN_MAX = 34, 35, 20


def table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], *, key: str, id_of: str | None = None
) -> str | None:
    """Shows rows, and answers with the id in the field `id_of` of the row that was clicked; None if none was.

    `columns`: for each field that is shown its Streamlit column, in order.
    """
    shown = [{name: row.get(name) for name in columns} for row in rows]
    height: Any = "content" if len(rows) <= ROWS_SHOWN_MAX else HEADER_PX + ROW_PX * ROWS_SHOWN_MAX
    looks: dict[str, Any] = {
        "column_config": dict(columns),
        "hide_index": True,
        "height": height,
        "row_height": ROW_PX,
        "placeholder": "–",
    }
    if id_of is None:
        st.dataframe(shown, **looks, key=key)
        return None
    ids = [str(row[id_of]) for row in rows]
    # Streamlit keeps a selection by its position: for other rows it is another table, where nothing is selected.
    of_these = sha256("\0".join(ids).encode()).hexdigest()[:12]
    event = st.dataframe(shown, **looks, key=f"{key} {of_these}", on_select="rerun", selection_mode="single-cell")
    cells = event["selection"]["cells"]
    return ids[cells[0][0]] if cells and cells[0][0] < len(ids) else None


def pager(total: int, *, key: str, rows: int = PAGE_ROWS) -> int:
    """The offset of the page that a person chose, of `total` rows. The page is in the URL, as `key`."""
    pages = max(1, -(-total // rows))
    if pages == 1:
        return 0
    wanted = st.query_params.get(key, "1")
    number = next((page for page in range(1, pages + 1) if str(page) == wanted), 1)
    chosen = st.pagination(pages, default=number, key=f"pager {key}")
    if chosen != number:
        st.query_params[key] = str(chosen)
    return (chosen - 1) * rows
