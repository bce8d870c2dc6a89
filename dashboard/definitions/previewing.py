"""For how many people an expression holds, who some of them are, and how its values are spread."""

from __future__ import annotations

import streamlit as st
from tinycdp import Admin
from tinycdp.admin import DefinitionKind
from tinycdp.admin_types import Preview

from dashboard import charts, page
from dashboard.answers import remembered
from dashboard.definitions.kinds import Kind
from dashboard.navigation import go
from dashboard.tables import PAGE_ROWS, pager, table
from dashboard.times import time_text
from dashboard.values import value_text

#: People of a sample, at most as many as the API shows.
SAMPLE = 1_000


@remembered(120)
def previewed(admin: Admin, kind: DefinitionKind, expression: str) -> Preview:
    """The answer of the lake; it takes seconds for millions of events."""
    return admin.preview(kind, expression, sample=SAMPLE)


def preview(kind: Kind, expression: str, who: str) -> None:
    """The people of an expression, a page at a time; `who` says what they are, as `members`."""
    if not expression.strip():
        page.empty("Nothing to compute", "Write an expression first.")
        return
    with st.spinner("Asking the lake …"):
        answer = previewed(kind.name, expression)
    share = answer["count"] / answer["total"] if answer["total"] else 0
    left, right, _ = st.columns([1, 1, 2])
    left.metric(who.capitalize(), f"{answer['count']:,}", border=True)
    right.metric("Share of all", f"{share:.1%}", border=True, help=f"of {answer['total']:,} people")
    st.caption(f"As of {time_text(answer['asof'])}, from the lake; kept for two minutes.")
    spread = answer.get("distribution")
    if spread is not None:
        charts.distribution(spread, answer["total"])
    people = answer["sample"]
    if not people:
        page.empty("Nobody", "The expression holds for nobody at this moment.")
        return
    if answer["count"] > len(people):
        st.caption(f"The first {len(people):,} of them.")
    offset = pager(len(people), key="people")
    picked = table(
        [{"id": one["id"], "value": value_text(one["value"])} for one in people[offset : offset + PAGE_ROWS]],
        {"id": st.column_config.TextColumn("Id"), "value": st.column_config.TextColumn("Value")},
        key=f"people of {kind.name}",
        id_of="id",
    )
    if picked is not None:
        go("users", id=picked)
