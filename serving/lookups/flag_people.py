"""The question whom a flag allows now: its whole decision for everybody, and a page of those whom it allows."""

from __future__ import annotations

from typing import Any

import polars as pl

from expressions.batch.counting import counted_for
from expressions.batch.frames import person_answers
from expressions.plan import plan
from expressions.rules.deletes import after_deletes
from expressions.rules.identity import owners
from serving.definitions.catalogue import decode
from serving.history import Source
from serving.lookups.flag_frames import allowed_by, named_answers, needed_for
from serving.times import rfc3339


def flag_people(
    source: Source,
    catalogue_text: bytes,
    key: str,
    variant: str | None,
    now_ms: int,
    limit: int,
    offset: int,
    fresh_rows_max: int,
) -> dict[str, Any] | None:
    """How many of all people a flag allows at `now_ms`, by variant; and a page of them by id, each with the variant.

    With `variant` the page has those alone who get it. Schedule, prerequisites, named people, rule and buckets count,
    as in a decision that names no device. None where the lake has more than `fresh_rows_max` events.
    """
    catalogue, lake = decode(catalogue_text), source.history()
    if lake.event_rows() > fresh_rows_max:
        return None
    version = lake.events_version()
    flags, bounds = needed_for(catalogue, key)
    needed = plan(bound.expr for bound in bounds)
    answers = person_answers(
        counted_for(lake.events(version), needed, now_ms, catalogue.zone), bounds, now_ms, catalogue.zone
    )
    names_people = any(flag.users for flag in flags)
    named = named_answers(flags, owners(after_deletes(lake.events(version)))) if names_people else {}
    allowed = allowed_by(answers, flags, named, now_ms)
    variants = allowed.group_by("variant").len().sort("len", "variant", descending=[True, False], nulls_last=True)
    listed = allowed if variant is None else allowed.filter(pl.col("variant") == variant)
    page = listed.sort("id").slice(offset, limit)
    return {
        "key": key,
        "count": len(allowed),
        "total": len(answers),
        "variants": [{"variant": name, "count": count} for name, count in variants.iter_rows() if name is not None],
        "users": [{"id": id, "variant": name} for id, name in page.select("id", "variant").iter_rows()],
        "hasMore": offset + limit < len(listed),
        "asof": rfc3339(now_ms),
    }
