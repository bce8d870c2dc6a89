"""Screens as Streamlit's pages, and the ways from one to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import streamlit as st

if TYPE_CHECKING:
    from dashboard.screens import Screen


def pages() -> dict[str, list[st.Page]]:
    """The pages of all screens, by their group in the navigation. The first one is at `/`."""
    from dashboard.screens import GROUPS  # here, since screens link to each other

    return {group: [_page_of(screen) for screen in screens] for group, screens in GROUPS.items()}


def go(path: str, **query: str) -> NoReturn:
    """Leaves for another screen."""
    st.switch_page(_page(path), query_params=query)


def link(path: str, label: str, *, icon: str | None = None, **query: str) -> None:
    """A link to another screen."""
    st.page_link(_page(path), label=label, icon=icon, query_params=query)


def _page(path: str) -> st.Page:
    """The page at a path, made anew. A screen may have twenty links, so that no other one is made."""
    from dashboard.screens import GROUPS, path_of

    return _page_of(next(screen for group in GROUPS.values() for screen in group if path_of(screen) == path))


def _page_of(screen: Screen) -> st.Page:
    from dashboard.screens import GROUPS, path_of

    is_first = screen is next(iter(GROUPS.values()))[0]
    return st.Page(screen.show, title=screen.TITLE, icon=screen.ICON, url_path=path_of(screen), default=is_first)
