"""What every screen begins with, and what it shows where there is nothing, or a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from tinycdp import ApiError, TinyCDPError, Unreachable

from dashboard.access import NotSignedIn
from dashboard.console import console

ICON = str(Path(__file__).with_name("icon.svg"))


def header(title: str, says: str = "") -> None:
    """The title of a screen, and one sentence about what it is for."""
    st.title(title, anchor=False)
    if says:
        st.caption(says)


def empty(title: str, remedy: str, icon: str = ":material/inbox:") -> None:
    """What a list shows without rows: that there are none, and what to do."""
    with st.container(border=True, horizontal_alignment="center", key=f"empty {title}"):
        st.markdown(f"{icon} **{title}**", width="content")
        st.markdown(remedy, width="content")


def refusal(error: TinyCDPError) -> None:
    """An error as the API words it: message, place in an expression, remedy."""
    if isinstance(error, Unreachable):
        st.error(
            f"The API does not answer: {error}. Look whether it runs: `tinycdp doctor`.", icon=":material/cloud_off:"
        )
        return
    if not isinstance(error, ApiError):
        st.error(str(error), icon=":material/error:")
        return
    st.error(error.message, icon=":material/error:")
    if error.details.get("caret") or "\n" in str(error.details.get("excerpt", "")):
        st.code(str(error.details.get("caret") or error.details.get("excerpt")), language=None)
    if error.remedy:
        st.caption(f"What to do: {error.remedy}")


@contextmanager
def refusals() -> Iterator[None]:
    """Shows what the API refuses in this block in its place; the rest of the screen stands."""
    try:
        yield
    except TinyCDPError as error:
        refusal(error)
    except NotSignedIn:
        sign_in_again()


def sign_in_again() -> None:
    """Says that the sign-in has ended, with the way back in."""
    st.info("Your sign-in has ended.", icon=":material/lock:")
    st.html(f'<a href="{console().base_path}/sign-in" target="_self">Sign in again</a>')
