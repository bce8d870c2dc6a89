"""The question who is in a segment now: how many, and a page of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from expressions.batch.counting import counted_for
from expressions.batch.frames import person_answers, users_where
from expressions.plan import plan
from serving.definitions.catalogue import decode
from serving.history import Source
from serving.times import rfc3339


def segment_members(
    source: Source, catalogue_text: bytes, key: str, now_ms: int, after: str | None, limit: int
) -> dict[str, Any]:
    """How many of how many people are in a segment at `now_ms`; and a page of them by id, of those behind `after`.

    `next` is the last id of the page where there are more behind it. Ids sort by code point. So a person who is a
    member all the while is on exactly one page, whoever comes and goes meanwhile.
    """
    catalogue, lake = decode(catalogue_text), source.history()
    bound = catalogue.bounds[("segment", key)]
    events = counted_for(lake.events(), plan([bound.expr]), now_ms, catalogue.zone)
    answers = person_answers(events, [bound], now_ms, catalogue.zone)
    holding = users_where(answers, ("segment", key))
    behind = holding if after is None else holding.filter(pl.col("id") > after)
    page = behind["id"].head(limit)
    of_page = (pl.col("key") == key) & pl.col("id").is_in(page.implode())
    since = dict(lake.memberships().filter(of_page).select("id", "since").collect().iter_rows())
    return {
        "key": key,
        "count": len(holding),
        "total": len(answers),
        "members": [{"id": id, "since": rfc3339(since[id]) if id in since else None} for id in page],
        "next": page[-1] if len(behind) > limit else None,
        "asof": rfc3339(now_ms),
    }
