"""Screens as Streamlit's pages, and the ways from one to another."""

from __future__ import annotations

from typing import NoReturn

import streamlit as st


def pages() -> dict[str, list[st.Page]]:
    """The pages of all screens, by their group in the navigation. The first one is at `/`."""
    from dashboard.screens import GROUPS, path_of  # here, since screens link to each other

    screens = [screen for group in GROUPS.values() for screen in group]
    by_path = {
        path_of(screen): st.Page(
            screen.show, title=screen.TITLE, icon=screen.ICON, url_path=path_of(screen), default=screen is screens[0]
        )
        for screen in screens
    }
    return {group: [by_path[path_of(screen)] for screen in screens] for group, screens in GROUPS.items()}


def go(path: str, **query: str) -> NoReturn:
    """Leaves for another screen."""
    st.switch_page(_page(path), query_params=query)


def link(path: str, label: str, *, icon: str | None = None, **query: str) -> None:
    """A link to another screen."""
    st.page_link(_page(path), label=label, icon=icon, query_params=query)


def _page(path: str) -> st.Page:
    return next(page for group in pages().values() for page in group if page.url_path == path)
