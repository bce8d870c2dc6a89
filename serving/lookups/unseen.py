"""Warnings of names that were never seen (S9): what a definition reads, held against what the lake has.

A name that nobody has sent is no mistake, since definitions may come before events; more often it is a slip. So it is
said once, with the answer that saves or checks the definition, and never stands in the way of it: while the lake is
away, or takes longer than `WAITED_S` to tell, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
from anyio import move_on_after

from expressions.definitions import Bound
from expressions.ops import Aggregation, Attribute, walk
from expressions.plan import COUNTED_KINDS
from expressions.rules.properties import attribute_key
from expressions.text.bind import Known, warnings_of
from serving.engine import Engine
from serving.history import History
from serving.lookups.worker import in_worker
from serving.refusals import Unavailable

#: How long a definition's answer waits for the names.
WAITED_S = 3.0


async def unseen(engine: Engine, bound: Bound) -> list[str]:
    """What to say of the names that a definition reads, with the nearest known ones; nothing while that is unknown."""
    nodes = list(walk(bound.written))
    events = {node.source.event for node in nodes if isinstance(node, Aggregation) and node.source.event is not None}
    attributes = any(isinstance(node, Attribute) for node in nodes)
    if not events and not attributes:
        return []
    with move_on_after(WAITED_S):
        try:
            found = await in_worker(seen, engine.settings.lake_root, sorted(events), attributes)
        except Unavailable:
            return []
        known = Known({name: frozenset(of) for name, of in found[0].items()}, frozenset(found[1]))
        return list(dict.fromkeys(warnings_of(bound.written, known)))
    return []


def seen(lake_root: str, wanted: Iterable[str], attributes: bool) -> tuple[dict[str, list[str]], list[str]]:
    """The names of all events, with the properties of those that are wanted, and of attributes if they are."""
    events = History(lake_root).events()
    counted = events.filter(pl.col("kind").is_in(sorted(COUNTED_KINDS)))
    found: dict[str, list[str]] = {name: [] for name in _unique(counted.select("name"))["name"].drop_nulls()}
    keys = pl.col("props").map.keys().alias("key")
    properties = counted.filter(pl.col("name").is_in(list(wanted))).select("name", keys).explode("key")
    for name, key in _unique(properties).drop_nulls().iter_rows():
        found[name].append(key)
    if not attributes:
        return found, []
    of_profiles = events.filter(pl.col("kind") == "identify").select(keys).explode("key")
    names = map(attribute_key, _unique(of_profiles)["key"].drop_nulls())
    return found, [key for key in names if key is not None]


def _unique(rows: pl.LazyFrame) -> pl.DataFrame:
    # In pieces: what is unique is small, whatever the rows are.
    return rows.unique().collect(engine="streaming")
