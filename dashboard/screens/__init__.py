"""The screens. Each file has a TITLE, an ICON and `show`, which draws it; its path is the file's name.

`show` runs from the top at each click. What a person looks at is in the URL (`st.query_params`), so that F5, Back and a
link to a colleague show the same. GROUPS says where each stands in the navigation; the first screen is at `/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dashboard.screens import audit, events, exports, flags, home, rejected, runs, segments, settings, traits, users


class Screen(Protocol):
    """A module of this folder."""

    __name__: str
    TITLE: str
    ICON: str

    def show(self) -> None:
        """Draws the screen."""


GROUPS: Mapping[str, tuple[Screen, ...]] = {
    "": (home,),
    "Definitions": (traits, segments, flags),
    "People": (users, events, rejected, exports),
    "Workspace": (runs, audit, settings),
}


def path_of(screen: Screen) -> str:
    """The last part of a screen's address, which is its file's name."""
    return screen.__name__.rpartition(".")[2]
