"""Runs: what the worker did and does, and a rebuild on request."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import RunPage

from dashboard import page
from dashboard.access import signed_in
from dashboard.address import in_address
from dashboard.answers import forget, remembered
from dashboard.markdown import plain
from dashboard.tables import PAGE_ROWS, ROWS_ABOVE_MORE, pager, table
from dashboard.times import time_text
from dashboard.values import value_text
from dashboard.workspace import may_change

TITLE = "Runs"
ICON = ":material/published_with_changes:"

REFRESH_S = 5
#: Counts that only name a rebuild.
NAMES = ("build", "version", "as_of")
WORK = {"All": None, "Rebuilds": "rebuild", "Purges": "purge", "Maintenance": "maintain"}


@remembered(2)
def runs(admin: Admin, work: str | None, offset: int) -> RunPage:
    """A page of the worker's runs, the newest first."""
    return admin.runs(work=work, limit=PAGE_ROWS, offset=offset)


def show() -> None:
    """The filter, the button, and the runs, which refresh themselves."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        page.header("Runs", "Rebuilds, purges and maintenance of the worker, the newest first.")
        if may_change() and st.button("Rebuild now …", type="primary", icon=":material/refresh:"):
            _ask_to_rebuild()
    kind = st.segmented_control(
        "Work", list(WORK), default="All", required=True, label_visibility="collapsed", **in_address("work")
    )
    work = WORK[kind or "All"]
    total = runs(work, 0)["total"]
    if not total:
        page.empty(
            "No runs yet", "The worker rebuilds each 15 minutes, unless set otherwise; `tinycdp doctor` sees it."
        )
        return
    offset = pager(total, key="page")
    _list(work, offset)


@st.fragment(run_every=REFRESH_S)
def _list(work: str | None, offset: int) -> None:
    with st.container(key="live runs"), page.refusals():
        found: list[dict[str, Any]] = [dict(run) for run in runs(work, offset)["runs"]]
        picked = table(
            [
                {
                    **run,
                    "began": time_text(run["began_at"] or run["asked_at"]),
                    "took": None if run["seconds"] is None else f"{run['seconds']:.1f} s",
                    "why": " ".join(filter(None, [run["cause"], run["by"]])),
                    "numbers": ", ".join(
                        f"{name} {value_text(value)}"
                        for name, value in run["counts"].items()
                        if value and name not in NAMES
                    ),
                }
                for run in found
            ],
            {
                "began": st.column_config.TextColumn("Began"),
                "work": st.column_config.TextColumn("Work", width="small"),
                "of": st.column_config.TextColumn("Of", width="small"),
                "state": st.column_config.TextColumn("State", width="small"),
                "took": st.column_config.TextColumn("Took", width="small"),
                "why": st.column_config.TextColumn("Because of"),
                "numbers": st.column_config.TextColumn("Numbers", width="large"),
            },
            key="runs",
            id_of="id",
            rows_shown=ROWS_ABOVE_MORE,
        )
        run = next((run for run in found if run["id"] == picked), None)
        if run is not None:
            with st.container(border=True):
                if run["error"]:
                    st.markdown(f":red[{plain(run['error'])}]")
                st.json({name: value for name, value in run.items() if value not in (None, "", {})})


@page.dialog("Rebuild")
def _ask_to_rebuild() -> None:
    st.markdown(
        "Every trait and segment of everybody is computed anew from the lake, and published. Answers stay live."
    )
    if st.button("Rebuild now", type="primary", icon=":material/refresh:"):
        with page.refusals():
            signed_in().admin.rebuild()
            forget()
            page.say("A rebuild is asked for")
            st.rerun()
