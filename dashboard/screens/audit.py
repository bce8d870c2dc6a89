"""The audit log: what admins did, the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import AuditPage

from dashboard import page
from dashboard.address import in_address
from dashboard.answers import remembered
from dashboard.definitions.difference import difference
from dashboard.markdown import code, plain
from dashboard.navigation import link
from dashboard.tables import PAGE_ROWS, ROWS_ABOVE_MORE, pager, table
from dashboard.times import begin_of, time_text
from dashboard.values import value_text

TITLE = "Audit"
ICON = ":material/history:"


#: The kinds of things that entries are about.
KINDS = ("trait", "segment", "flag", "key", "user", "rejected")
ENTRY = "entry"


@remembered(10, reads_the_lake=True)
def audit(
    admin: Admin,
    offset: int,
    kind: str | None = None,
    key: str | None = None,
    author: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> AuditPage:
    """A page of the log."""
    return admin.audit(limit=PAGE_ROWS, offset=offset, kind=kind, key=key, author=author, since=since, until=until)


def show() -> None:
    """The filters, and the log as a table; a click on a line shows it whole. The address has all of it."""
    page.header("Audit", "What admins did: who, by the label of the key, what, and to what.")
    if not audit(0)["total"]:
        page.empty("Nothing yet", "What is saved, deleted, made or revoked is here about a second later.")
        return
    sought = _sought()
    total = audit(0, *sought)["total"]
    if not total:
        page.empty("Nothing matches", "Nobody did such a thing in this period.")
    place, whole = st.container(), st.container()
    entries = [dict(one) for one in audit(pager(total, key="page"), *sought)["entries"]] if total else []
    if entries:
        with place:
            _table(entries)
    opened = st.query_params.get(ENTRY)
    if opened:
        with whole, page.refusals():
            found = next((one for one in entries if _id(one) == opened), None) or _looked_up(opened)
            if found is None:
                st.caption("The entry that the address names is not in the log.")
            else:
                _entry(found)


def _sought() -> tuple[str | None, ...]:
    """What is looked for: a kind, parts of a key and of a label, and a period."""
    one, two, three, four, five = st.columns(5)
    kind = one.selectbox("To a", KINDS, index=None, placeholder="Anything", **in_address("of"))
    key = two.text_input("Key", type="search", live="300ms", placeholder="A part of it", **in_address("about"))
    author = three.text_input("Who", type="search", live="300ms", placeholder="A part of a label", **in_address("who"))
    since = begin_of(four.date_input("From", None, **in_address("from")))
    until = begin_of(five.date_input("To, with that date", None, **in_address("to")), days=1)
    return kind, key or None, author or None, since, until


def _looked_up(opened: str) -> dict[str, Any] | None:
    """The entry of an id, on whatever page it is; None where there is none."""
    since = opened.split(" ")[0]
    try:
        until = (datetime.fromisoformat(since).astimezone(UTC) + timedelta(milliseconds=1)).isoformat()
    except (ValueError, OverflowError):
        return None  # the address may say anything
    return next((dict(one) for one in audit(0, since=since, until=until)["entries"] if _id(one) == opened), None)


def _table(entries: list[dict[str, Any]]) -> None:
    table(
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
        on_pick=lambda picked: st.query_params.update({ENTRY: picked}),
    )


def _id(entry: Mapping[str, Any]) -> str:
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
