"""What the API answered a short while ago, kept for one browser tab and one sign-in: nobody sees what others may see.

A loader is a function of the admin client, as `@remembered(10) def traits(admin): return admin.definitions("trait")`.
Its answer is kept for so many seconds, and until this person changes something. At most 100 answers are kept of each
loader and tab; the oldest go first. Answers that are read in the lake take seconds for millions of events: the screen
says what it waits for, and waits longer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import streamlit as st
from tinycdp import Admin

from dashboard.access import signed_in

P = ParamSpec("P")
R = TypeVar("R")
ANSWERS_MAX = 100
CHANGES = "changes of this tab"
ASKING = "Asking the lake …"


def remembered(
    seconds: float, *, reads_the_lake: bool = False
) -> Callable[[Callable[Concatenate[Admin, P], R]], Callable[P, R]]:
    """Makes a loader of a call. Errors are not kept: the next run asks again."""

    def decorate(ask: Callable[Concatenate[Admin, P], R]) -> Callable[P, R]:
        def asked(who: str, changes: int, *arguments: Any, **named: Any) -> R:
            return ask(signed_in().patient if reads_the_lake else signed_in().admin, *arguments, **named)

        # Streamlit tells functions apart by these and by their text, which is one for all loaders.
        asked.__module__, asked.__qualname__ = ask.__module__, ask.__qualname__
        spinner = ASKING if reads_the_lake else False
        kept = st.cache_data(ttl=seconds, scope="session", show_spinner=spinner, max_entries=ANSWERS_MAX)(asked)

        def loader(*arguments: Any, **named: Any) -> R:
            return kept(signed_in().id, st.session_state.get(CHANGES, 0), *arguments, **named)

        loader.__doc__ = ask.__doc__
        return cast(Callable[P, R], loader)

    return decorate


def forget() -> None:
    """Drops what this tab was told: after a change all is asked again."""
    st.session_state[CHANGES] = st.session_state.get(CHANGES, 0) + 1
