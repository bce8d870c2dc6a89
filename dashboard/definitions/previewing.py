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


@remembered(120, reads_the_lake=True)
def previewed(admin: Admin, kind: DefinitionKind, expression: str) -> Preview:
    """The answer of the lake."""
    return admin.preview(kind, expression, sample=SAMPLE)


def preview(kind: Kind, expression: str) -> None:
    """How the values of a trait are spread, and some people with theirs, a page at a time."""
    if not expression.strip():
        page.empty("Nothing to compute", "Write an expression first.")
        return
    answer = previewed(kind.name, expression)
    spread, people = answer.get("distribution"), answer["sample"]
    without = spread["none"] if spread is not None else 0
    page.share_of_all("People with a value", answer["total"] - without, answer["total"])
    st.caption(f"As of {time_text(answer['asof'])}, from the lake; kept for two minutes.")
    if spread is not None:
        charts.distribution(spread, answer["total"])
    if not people:
        page.empty("Nobody", "At this moment the value is false, 0, empty or none for everybody.")
        return
    has = "whose value is not false, 0, empty or none"
    if answer["count"] > len(people):
        st.caption(
            f"The numbers above are of everybody. Below are the first {len(people):,} by id of the {answer['count']:,} "
            f"people {has}. A segment lists all: make one whose rule asks for this trait."
        )
    else:
        st.caption(f"The {answer['count']:,} people {has}:")
    offset = pager(len(people), key="people")
    picked = table(
        [{"id": one["id"], "value": value_text(one["value"])} for one in people[offset : offset + PAGE_ROWS]],
        {"id": st.column_config.TextColumn("Id"), "value": st.column_config.TextColumn("Value")},
        key=f"people of {kind.name}",
        id_of="id",
    )
    if picked is not None:
        go("users", id=picked)
