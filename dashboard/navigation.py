"""Screens as Streamlit's pages, and the ways from one to another."""

from __future__ import annotations

from typing import NoReturn

import streamlit as st

from dashboard.screens import GROUPS, path_of


def pages() -> dict[str, list[st.Page]]:
    """The pages of all screens, by their group in the navigation. The first one is at `/`."""
    by_path = _by_path()
    return {group: [by_path[path_of(screen)] for screen in screens] for group, screens in GROUPS.items()}


def go(path: str, **query: str) -> NoReturn:
    """Leaves for another screen."""
    st.switch_page(_by_path()[path], query_params=query)


def link(path: str, label: str, *, icon: str | None = None, **query: str) -> None:
    """A link to another screen."""
    st.page_link(_by_path()[path], label=label, icon=icon, query_params=query)


def _by_path() -> dict[str, st.Page]:
    screens = [screen for group in GROUPS.values() for screen in group]
    return {
        path_of(screen): st.Page(
            screen.show, title=screen.TITLE, icon=screen.ICON, url_path=path_of(screen), default=screen is screens[0]
        )
        for screen in screens
    }
