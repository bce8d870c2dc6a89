"""Whom a flag allows now, by variant: the whole decision, for everybody."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st
from tinycdp import Admin, Conflict
from tinycdp.admin_types import FlagPeople

from dashboard import charts, page
from dashboard.address import in_address
from dashboard.analyses import analysis
from dashboard.answers import remembered
from dashboard.navigation import go
from dashboard.people_found import first_people
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
    key = flag["key"]
    st.caption("Schedule, prerequisites, named users, rule and rollout count, as for a question that names no device.")
    try:
        first = allowed(key, None, 0)
    except Conflict:  # over so many events it is a job
        analysis("people", "flag", None, partial(_draw, flag), key=key)
        return
    chosen, count = _numbers(flag, first, "from the lake; kept for two minutes")
    if not count:
        return
    place = st.container()
    with_a_page = PAGED_MAX + PEOPLE_ROWS
    offset = pager(min(count, with_a_page), key="page", rows=PEOPLE_ROWS)
    if count > with_a_page:
        st.caption(f"The first {with_a_page:,} of {count:,} have a page.")
    found = allowed(key, chosen, offset)
    with place:
        picked = table([dict(one) for one in found["users"]], _columns(flag), key="people of a flag", id_of="id")
    if picked is not None:
        go("users", id=picked)


def _draw(flag: dict[str, Any], result: dict[str, Any]) -> None:
    """The same of an answer that has the first of them."""
    chosen, count = _numbers(flag, result, "from the lake")
    if count:
        rows = [one for one in result["sample"] if chosen in (None, one["variant"])]
        first_people(rows, count, _columns(flag), others="A segment with the same rule can be exported whole.")


def _numbers(flag: dict[str, Any], answer: Mapping[str, Any], source: str) -> tuple[str | None, int]:
    """How many of all people a flag allows; the variant that is looked at, None for all; how many people that is."""
    page.share_of_all("People whom it allows", answer["count"], answer["total"])
    counts = {one["variant"]: one["count"] for one in answer["variants"]}
    names = [one["name"] for one in flag["variants"]]
    chosen = _chosen(names, counts) if names else None
    st.caption(f"As of {time_text(answer['asof'])}, {source}.")
    count = answer["count"] if chosen is None else counts.get(chosen, 0)
    if not count:
        page.empty("Nobody", _nobody(flag, chosen))
    return chosen, count


def _columns(flag: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {"id": st.column_config.TextColumn("Id", width="large")}
    if flag["variants"]:
        columns["variant"] = st.column_config.TextColumn("Variant", width="medium")
    return columns


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
