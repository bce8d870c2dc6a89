"""Whom a flag allows now, by variant: the whole decision, for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
from tinycdp import Admin
from tinycdp.admin_types import FlagPeople

from dashboard import charts, page
from dashboard.address import in_address
from dashboard.answers import remembered
from dashboard.navigation import go
from dashboard.tables import PEOPLE_ROWS, pager, table
from dashboard.times import time_text

#: How many people the API passes over; those behind have no page.
PAGED_MAX = 1_000_000


@remembered(120, reads_the_lake=True)
def allowed(admin: Admin, key: str, variant: str | None, offset: int) -> FlagPeople:
    """The answer of the lake."""
    return admin.flag_people(key, variant=variant, limit=PEOPLE_ROWS, offset=offset)


def people(flag: dict[str, Any]) -> None:
    """How many a flag allows, by variant, and a page of them by id. A click on one opens that person."""
    key, names = flag["key"], [one["name"] for one in flag["variants"]]
    st.caption("Schedule, prerequisites, named users, rule and rollout count, as for a question that names no device.")
    first = allowed(key, None, 0)
    page.share_of_all("People whom it allows", first["count"], first["total"])
    counts = {one["variant"]: one["count"] for one in first["variants"]}
    chosen = _chosen(names, counts) if names else None
    st.caption(f"As of {time_text(first['asof'])}, from the lake; kept for two minutes.")
    count = first["count"] if chosen is None else counts.get(chosen, 0)
    if not count:
        page.empty("Nobody", _nobody(flag, chosen))
        return
    place = st.container()
    with_a_page = PAGED_MAX + PEOPLE_ROWS
    offset = pager(min(count, with_a_page), key="page", rows=PEOPLE_ROWS)
    if count > with_a_page:
        st.caption(f"The first {with_a_page:,} of {count:,} have a page.")
    found = allowed(key, chosen, offset)
    columns: dict[str, Any] = {"id": st.column_config.TextColumn("Id", width="large")}
    if names:
        columns["variant"] = st.column_config.TextColumn("Variant", width="medium")
    with place:
        picked = table([dict(one) for one in found["users"]], columns, key="people of a flag", id_of="id")
    if picked is not None:
        go("users", id=picked)


def _chosen(names: list[str], counts: Mapping[str, int]) -> str | None:
    """How many get each variant, and the one whose people are shown, which the URL keeps; None for all."""
    rows = [{"variant": name, "people": counts.get(name, 0)} for name in names]
    charts.bars(rows, name="variant", of="people")
    return st.selectbox("Who gets", names, index=None, placeholder="Any variant", width=320, **in_address("variant"))


def _nobody(flag: dict[str, Any], variant: str | None) -> str:
    if not flag["enabled"]:
        return "The flag is off."
    if variant is not None:
        return "Nobody gets this variant at this moment."
    return "Its schedule, prerequisites, rule and rollout allow nobody at this moment."
