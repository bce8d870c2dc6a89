"""A table of rows, of which a person picks one, by a click or by the keyboard: the row's id, never its position."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import streamlit as st

from dashboard.address import page_number

#: Rows of a page of a list.
PAGE_ROWS = 50
#: Rows of a page of people whom the lake is read for: each page takes a look at all events, so there are few pages.
PEOPLE_ROWS = 1_000
ROW_PX, HEADER_PX, ROWS_SHOWN_MAX = 34, 35, 20
#: Rows of a table that shows more of the picked one below it, which would else be out of sight.
ROWS_ABOVE_MORE = 12
#: What names a row without an id that is shown: so many columns, and so many characters.
LABEL_COLUMNS, LABEL_CHARACTERS = 5, 120


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    *,
    key: str,
    id_of: str | None = None,
    rows_shown: int = ROWS_SHOWN_MAX,
    on_pick: Callable[[str], None] | None = None,
) -> str | None:
    """Shows rows, and answers with the id in the field `id_of` of the row that was picked; None if none was.

    `columns`: for each field that is shown its Streamlit column, in order. Beyond `rows_shown` rows the table scrolls.
    A row stays picked. What is to be done once, when it is picked, does `on_pick`, with its id.
    """
    shown = [{name: row.get(name) for name in columns} for row in rows]
    height: Any = "content" if len(rows) <= rows_shown else HEADER_PX + ROW_PX * rows_shown
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
    of_these = f"{key} {sha256(chr(0).join(ids).encode()).hexdigest()[:12]}"
    by_keyboard = f"{of_these} by keyboard"

    def typed_one() -> None:
        if on_pick is not None and st.session_state[by_keyboard] is not None:
            on_pick(st.session_state[by_keyboard])

    def clicked() -> None:
        st.session_state[by_keyboard] = None  # what was done last counts
        one = _clicked(st.session_state[of_these], ids)
        if on_pick is not None and one is not None:
            on_pick(one)

    labels = dict(zip(ids, _labels(rows, list(columns), id_of), strict=True))
    typed = _picked_by_keyboard(labels, by_keyboard, typed_one)
    event = st.dataframe(shown, **looks, key=of_these, on_select=clicked, selection_mode="single-cell")
    return _clicked(event, ids) if typed is None else typed


def _clicked(event: Any, ids: Sequence[str]) -> str | None:
    cells = event["selection"]["cells"]
    return ids[cells[0][0]] if cells and cells[0][0] < len(ids) else None


def _picked_by_keyboard(labels: Mapping[str, str], key: str, on_change: Callable[[], None]) -> str | None:
    """The id that was chosen in a list of the rows, which shows itself once Tab comes to it (`page.STYLE`).

    The table is drawn and selects whatever the arrow keys come to, so Tab passes over it (`page.KEYS`).
    """
    with st.container(key=f"by keyboard {key}"):
        return st.selectbox(
            "Open a row",
            list(labels),
            index=None,
            format_func=labels.__getitem__,
            placeholder="Open a row: type a part of it, then Enter",
            key=key,
            on_change=on_change,
            label_visibility="collapsed",
        )


def _labels(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], id_of: str) -> list[str]:
    """A name for each row, no two alike: its id where that is the first column, else what the first columns say."""
    seen: Counter[str] = Counter()
    labels = []
    for row in rows:
        named = [id_of] if columns[0] == id_of else columns[:LABEL_COLUMNS]
        label = " · ".join(str(row[name]) for name in named if row.get(name) not in (None, ""))[:LABEL_CHARACTERS]
        seen[label] += 1
        labels.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return labels


def pager(total: int, *, key: str, rows: int = PAGE_ROWS) -> int:
    """The offset of the page that a person chose, of `total` rows. The page is in the URL, as `key`."""
    pages = max(1, -(-total // rows))
    return 0 if pages == 1 else (page_number(pages, name=key) - 1) * rows


class Turner:
    """Turns the pages of a list whose answers each name the next one: forward, and back by the ways of this tab.

    Where the page begins is in the URL, as `after`, with its number as `page`.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self.cursor: str | None = st.query_params.get("after")
        number = st.query_params.get("page", "")
        self._number = 1 if self.cursor is None else int(number) if re.fullmatch("[0-9]{1,9}", number) else 2

    @property
    def is_first(self) -> bool:
        """Whether the page is the list's first."""
        return self.cursor is None

    def draw(self, following: str | None, of: str = "") -> None:
        """The buttons, where there is more than one page. `following` is the next page's cursor; None for the last."""
        if self.is_first and following is None:
            return
        before: dict[str, str | None] = st.session_state.setdefault(f"pages before in {self._key}", {})
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("First", icon=":material/first_page:", disabled=self.is_first, key=f"first {self._key}"):
                self._turn(None, 1)
            known = self.cursor is not None and self.cursor in before
            if st.button("Back", icon=":material/chevron_left:", disabled=not known, key=f"back {self._key}"):
                self._turn(before[str(self.cursor)], self._number - 1)
            st.markdown(f"Page {self._number:,} {of}")
            last = following is None
            if st.button("Next", icon=":material/chevron_right:", disabled=last, key=f"next {self._key}"):
                before[str(following)] = self.cursor
                self._turn(following, self._number + 1)

    def _turn(self, cursor: str | None, number: int) -> None:
        for name, value in (("after", cursor), ("page", None if cursor is None else str(number))):
            if value is None:
                st.query_params.pop(name, None)
            else:
                st.query_params[name] = value
        st.rerun()
