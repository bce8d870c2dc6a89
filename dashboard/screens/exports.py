"""Exports: the members of a segment as a file, how far each is, and the files that are kept."""

from __future__ import annotations

import streamlit as st
from tinycdp import Admin, NotFound
from tinycdp.admin_types import ExportList

from dashboard import page
from dashboard.access import signed_in
from dashboard.answers import forget, remembered
from dashboard.definitions.kinds import definitions
from dashboard.exporting import start_export
from dashboard.markdown import plain
from dashboard.tables import PAGE_ROWS, pager, table
from dashboard.times import time_text
from dashboard.values import bytes_text
from dashboard.workspace import may_change

TITLE = "Exports"
ICON = ":material/download:"

LOOK_S = 1
ENDED = "the export that has ended"


@remembered(10)
def exports(admin: Admin, offset: int) -> ExportList:
    """A page of the files that are kept, the newest first."""
    return admin.exports(limit=PAGE_ROWS, offset=offset)


def show() -> None:
    """The export under way, a new one, and the files."""
    page.header(
        "Exports", "The members of a segment as CSV. Files are kept for days, and opened with a signed address."
    )
    if not may_change():
        page.empty("Exports take an admin's key", "Yours shows and changes nothing, and takes no people's ids away.")
        return
    running = st.query_params.get("id")
    if running is not None:
        _progress(running)
    _new()
    _files()


def _progress(id: str) -> None:
    """How far an export is, asked each second until it has ended, or is not known."""
    is_whole_run = True

    def end() -> None:
        """The files below may be others, and nothing is asked each second any more.

        A run that a press began goes on: the press would be lost.
        """
        if st.session_state.get(ENDED) == id:
            return
        forget()
        if not is_whole_run:
            st.session_state[ENDED] = id
            page.draw_anew()

    @st.fragment(run_every=LOOK_S if st.session_state.get(ENDED) != id else None)
    def progress() -> None:
        with page.refusals():
            try:
                export = signed_in().admin.export(id)
            except NotFound:
                page.empty(
                    "There is no such export", "It is known for a while after its end; files that are kept are below."
                )
                end()
                return
            share = min(1.0, export["done"] / export["of"]) if export["of"] else 0.0
            if export["state"] == "failed":
                st.error(f"The export of `{export['segment']}` failed: {plain(export.get('error'))}")
                end()
            elif export["state"] == "done":
                url = export.get("downloadUrl")
                st.success(f"`{export['segment']}`: {export['userCount']:,} users, as of {time_text(export['asof'])}")
                if url:
                    st.link_button("Download", url, icon=":material/download:")
                end()
            else:
                st.progress(
                    share, f"{export['segment']}: {export['state']}, {export['done']:,} of {export['of'] or '?'}"
                )

    progress()
    is_whole_run = False


def _new() -> None:
    keys = [segment["key"] for segment in definitions("segment")]
    if not keys:
        page.empty("No segments yet", "Make one under *Segments*: its members can then be exported here.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        segment = st.selectbox("Segment", keys, key="segment to export", width=320)
        if st.button("Export", type="primary", icon=":material/download:"):
            start_export(segment)


def _files() -> None:
    st.subheader("Files", anchor=False)
    total = exports(0)["total"]
    if not total:
        page.empty("No files", "They are kept for seven days, unless set otherwise.")
        return
    place = st.container()
    kept = exports(pager(total, key="page"))["exports"]
    with place:
        table(
            [
                {
                    "name": one["name"],
                    "size": bytes_text(one["size"]),
                    "at": time_text(one["created_at"]),
                    "url": one.get("downloadUrl"),
                }
                for one in kept
            ],
            {
                "name": st.column_config.TextColumn("File"),
                "size": st.column_config.TextColumn("Size"),
                "at": st.column_config.TextColumn("Made"),
                "url": st.column_config.LinkColumn("File, for an hour", display_text="Download"),
            },
            key="exports",
        )
