"""The screen of a kind of definition: its list, one of them, or the form of a new one, as the URL says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import streamlit as st
from tinycdp import ApiError

from dashboard.definitions import detail
from dashboard.definitions.history import history
from dashboard.definitions.kinds import Kind


def definition_screen(
    kind: Kind,
    one: Callable[[dict[str, Any]], None],
    listed: Callable[[], None],
    more: detail.MoreFields | None = None,
) -> None:
    """Draws what the URL names: `one` definition below its head, the form of a new one (with `more`), or the list.

    Of a key that has no definition (any more) its history is shown, from where it can be brought back.
    """
    key = st.query_params.get("key")
    if not key:
        if "new" in st.query_params:
            detail.create(kind, more)
        else:
            listed()
        return
    found = detail.found_or_gone(kind, key)
    if found is not None:
        one(found)
        return
    with suppress(ApiError):  # there never was one, or the key is none, as was said already
        history(kind, key, None)
