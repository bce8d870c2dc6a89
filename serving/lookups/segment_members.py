"""The question who is in a segment: how many, and a page of them.

A small lake is computed as of now. That of a large one would take many seconds for each page, so the answer is that of
the last full rebuild. It needs a rebuild that knew the rule as it is, with all that the rule refers to.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from expressions.batch.counting import counted_for
from expressions.batch.frames import person_answers, users_where
from expressions.plan import plan
from serving.definitions.catalogue import Catalogue, decode
from serving.history import History, Source
from serving.times import rfc3339


def segment_members(
    source: Source,
    catalogue_text: bytes,
    key: str,
    now_ms: int,
    after: str | None,
    limit: int,
    fresh_rows_max: int,
) -> dict[str, Any] | None:
    """How many of how many people are in a segment as of `asof`; and a page of them by id, of those behind `after`.

    `next` is the last id of the page where there are more behind it. Ids sort by code point. So a person who is a
    member all the while is on exactly one page, whoever comes and goes meanwhile. `asof` is `now_ms` where the lake has
    at most `fresh_rows_max` events, else the instant of the last full rebuild; None where that knew another rule.
    """
    catalogue, lake = decode(catalogue_text), source.history()
    is_small = lake.event_rows() <= fresh_rows_max
    if is_small:
        found, total, as_of_ms = _fresh(lake, catalogue, key, now_ms)
    else:
        of_rebuild = _of_rebuild(lake, catalogue, key)
        if of_rebuild is None:
            return None
        found, total, as_of_ms = of_rebuild
    behind = found if after is None else found.filter(pl.col("id") > after)
    page = behind.sort("id").head(limit)
    return {
        "key": key,
        "count": len(found),
        "total": total,
        "members": [
            {"id": id, "since": None if since is None else rfc3339(since)}
            for id, since in page.select("id", "since").iter_rows()
        ],
        "next": page["id"][-1] if len(behind) > limit else None,
        "asof": rfc3339(as_of_ms),
        "fresh": is_small,
    }


def _fresh(lake: History, catalogue: Catalogue, key: str, now_ms: int) -> tuple[pl.DataFrame, int, int]:
    """id and since of each member now, of how many people, and when that is."""
    bound = catalogue.bounds[("segment", key)]
    events = counted_for(lake.events(), plan([bound.expr]), now_ms, catalogue.zone)
    answers = person_answers(events, [bound], now_ms, catalogue.zone)
    members = users_where(answers, ("segment", key))
    known = lake.memberships().filter(pl.col("key") == key).select("id", "since").collect()
    return members.join(known, on="id", how="left"), len(answers), now_ms


def _of_rebuild(lake: History, catalogue: Catalogue, key: str) -> tuple[pl.DataFrame, int, int] | None:
    """The same as the last full rebuild has it; None where that knew another rule, or is not at its end."""
    memberships = lake.memberships()
    found = memberships.filter(pl.col("key") == key).select("id", "since", "build").collect()
    builds = found["build"] if len(found) else memberships.select(pl.col("build").max()).collect()["build"]
    build = builds.max() or lake.last_build()
    noted = None if build is None else lake.counted_by(int(build))  # type: ignore[arg-type]  # a number
    if noted is None or catalogue.last_change(("segment", key)) > noted.definitions:
        return None
    return found, noted.people, noted.as_of_ms
