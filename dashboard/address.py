"""What a person looks at, as the address has it: F5, Back and a link to a colleague show the same.

The address alone says it. Streamlit also keeps the text of a field that is no longer drawn, and gives it to the next
field of that name, for another person or definition: `arrive` drops it. What Streamlit itself would not keep in the
address, as the part of a page, is drawn by what the address says, and changes nothing but the address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NoReturn, TypedDict

import streamlit as st

#: What names the thing that a screen shows, in place of its list.
THING = ("key", "id", "new")
#: Where a list goes on: another filter begins it anew.
PLACES_IN_A_LIST = ("page", "after", "people", "entry")
FIELDS, LAST, LIST = "fields of the address", "the address of the run before", "the address of the last list"
PART = "part of the page"


class Field(TypedDict):
    """How a field of Streamlit stands in the address."""

    key: str
    bind: Literal["query-params"]
    on_change: Callable[[], None]


def in_address(name: str) -> Field:
    """The arguments of a field that filters, and whose text stands in the address by this name."""
    st.session_state.setdefault(FIELDS, set()).add(name)
    return {"key": name, "bind": "query-params", "on_change": begin_anew}


def begin_anew() -> None:
    """Shows the first page of whatever the address goes on with."""
    for name in PLACES_IN_A_LIST:
        st.query_params.pop(name, None)


def arrive(path: str) -> None:
    """Notes which screen is drawn, before it is: for another screen or thing no field has its text of before."""
    query = st.query_params.to_dict()
    left_path, left = st.session_state.get(LAST, (path, query))
    st.session_state[LAST] = path, query
    if (left_path, _thing(left)) == (path, _thing(query)):
        return
    if not _thing(left):
        st.session_state[LIST] = left_path, left
    for name in st.session_state.get(FIELDS, ()):
        if name not in query and name in st.session_state:
            del st.session_state[name]


def _thing(query: dict[str, str]) -> dict[str, str]:
    return {name: query[name] for name in THING if name in query}


def open_query(**query: str) -> NoReturn:
    """Shows the same screen with other words in its address."""
    st.query_params.from_dict(query)
    st.rerun()


def open_list() -> NoReturn:
    """Shows the list of the same screen, as it was when a person left it for one of its rows."""
    path, query = st.session_state.get(LIST, (None, {}))
    open_query(**(query if path == st.session_state[LAST][0] else {}))


def section(names: Sequence[str]) -> str:
    """The part of a page that the address names as `tab`; the first one where it names none. Draws the choice."""
    wanted = st.query_params.get("tab")
    part = wanted if wanted in names else names[0]
    _show(PART, part)
    st.segmented_control(
        "Part", names, required=True, key=PART, on_change=_open_part, args=(names[0],), label_visibility="collapsed"
    )
    return part or names[0]


def _open_part(first: str) -> None:
    part = str(st.session_state[PART])
    st.query_params.from_dict(_thing(st.query_params.to_dict()) | ({} if part == first else {"tab": part}))


def page_number(pages: int, *, name: str) -> int:
    """The page that the address names, of so many; the first where it names none of them. Draws the choice."""
    wanted, key = st.query_params.get(name, ""), f"pager {name}"
    number = int(wanted) if re.fullmatch("[1-9][0-9]{0,9}", wanted) and int(wanted) <= pages else 1
    _show(key, number)
    st.pagination(pages, key=key, on_change=_turn, args=(name, key))
    return number


def _turn(name: str, key: str) -> None:
    st.query_params[name] = str(st.session_state[key])


def _show(key: str, value: object) -> None:
    """Gives a field, before it is drawn, the value that the address has."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value
