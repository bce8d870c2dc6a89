"""The audit log: what admins did, the newest first."""

from __future__ import annotations

from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import AuditPage

from dashboard import page
from dashboard.answers import remembered
from dashboard.definitions.difference import difference
from dashboard.markdown import code, plain
from dashboard.navigation import link
from dashboard.tables import PAGE_ROWS, ROWS_ABOVE_MORE, pager, table
from dashboard.times import time_text
from dashboard.values import value_text

TITLE = "Audit"
ICON = ":material/history:"


@remembered(10, reads_the_lake=True)
def audit(admin: Admin, offset: int) -> AuditPage:
    """A page of the log."""
    return admin.audit(limit=PAGE_ROWS, offset=offset)


def show() -> None:
    """The log as a table; a click on a line shows it whole."""
    page.header("Audit", "What admins did: who, by the label of the key, what, and to what.")
    total = audit(0)["total"]
    if not total:
        page.empty("Nothing yet", "What is saved, deleted, made or revoked is here about a second later.")
        return
    place, whole = st.container(), st.container()
    entries: list[dict[str, Any]] = [dict(one) for one in audit(pager(total, key="page"))["entries"]]
    with place:
        picked = table(
            [{**one, "id": _id(one), "time": time_text(one["at"]), "about": _about(one)} for one in entries],
            {
                "time": st.column_config.TextColumn("When"),
                "author": st.column_config.TextColumn("Who"),
                "action": st.column_config.TextColumn("Did"),
                "kind": st.column_config.TextColumn("To a"),
                "key": st.column_config.TextColumn("Key"),
                "about": st.column_config.TextColumn("Details", width="large"),
            },
            key="audit",
            id_of="id",
            rows_shown=ROWS_ABOVE_MORE,
        )
    found = next((one for one in entries if _id(one) == picked), None)
    if found is not None:
        with whole:
            _entry(found)


def _id(entry: dict[str, Any]) -> str:
    return f"{entry['at']} {entry['action']} {entry['kind']} {entry['key']}"


def _about(entry: dict[str, Any]) -> str:
    words = ", ".join(f"{name} {value_text(value)}" for name, value in entry["details"].items())
    return " · ".join(filter(None, [entry["note"], ", ".join(entry["changed"]) or words]))


def _entry(entry: dict[str, Any]) -> None:
    with st.container(border=True):
        did = f"{entry['action']} {entry['kind']} {code(entry['key'])}"
        st.markdown(f"**{plain(entry['author'])}** · {did} · {time_text(entry['at'])}")
        if entry["note"]:
            st.markdown(plain(entry["note"]))
        before, after = entry["before"] or {}, entry["after"] or {}
        if before or after:
            st.code(difference(before, after) or "Nothing differs.", language="diff", wrap_lines=True)
        elif entry["details"]:
            st.json(entry["details"])
        if entry["kind"] in ("trait", "segment", "flag"):
            link(f"{entry['kind']}s", f"{entry['kind']} {entry['key']}", key=entry["key"])
