"""Exports: the members of a segment as a file, how far each is, and the files that are kept."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st
from tinycdp import Admin, NotFound, TinyCDPError
from tinycdp.admin_types import Export, ExportList

from dashboard import page
from dashboard.access import NotSignedIn, signed_in
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
    looked: list[Export | None] = []
    with suppress(TinyCDPError, NotSignedIn):  # the first look below says so
        looked.append(_look(id))
    if looked and _has_ended(looked[0]):
        if st.session_state.get(ENDED) != id:  # the files below may be others
            st.session_state[ENDED] = id
            forget()
        _show_export(looked[0])
        return

    @st.fragment(run_every=LOOK_S)
    def progress() -> None:
        with page.refusals():
            export = looked.pop() if looked else _look(id)
            if _has_ended(export):
                page.draw_anew()
            _show_export(export)

    progress()


def _look(id: str) -> Export | None:
    try:
        return signed_in().admin.export(id)
    except NotFound:
        return None


def _has_ended(export: Export | None) -> bool:
    return export is None or export["state"] in ("done", "failed")


def _show_export(export: Export | None) -> None:
    if export is None:
        page.empty("There is no such export", "It is known for a while after its end; files that are kept are below.")
        return
    segment = plain(export["segment"])
    if export["state"] == "failed":
        st.error(f"The export of `{segment}` failed: {plain(export.get('error'))}")
    elif export["state"] == "done":
        url = export.get("downloadUrl")
        st.success(f"`{segment}`: {export['userCount']:,} users, as of {time_text(export['asof'])}")
        if url:
            st.link_button("Download", url, icon=":material/download:")
    else:
        share = min(1.0, export["done"] / export["of"]) if export["of"] else 0.0
        st.progress(share, f"{segment}: {export['state']}, {export['done']:,} of {export['of'] or '?'}")


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
