"""The question how much is in the lake: rows, bytes, people and events."""

from __future__ import annotations

from typing import Any

from expressions.batch.counting import counted
from expressions.batch.totals import totals
from expressions.rules.identity import people
from serving.history import Source


def sizes(source: Source, now_ms: int, fresh_rows_max: int) -> dict[str, Any]:
    """`rows` of each table and `bytes` of all, from the tables' own logs; and `fresh`: people and events, counted now.

    `fresh` is None where the lake has more than `fresh_rows_max` rows of events: to count them would take seconds.
    """
    lake = source.history()
    tables = lake.sizes()
    rows = {name: rows for name, (rows, _) in tables.items()}
    fresh = None
    if rows["events"] <= fresh_rows_max:
        events = counted(lake.events()).collect()
        fresh = totals(people(events.lazy()), now_ms) | {"ids": events["id"].n_unique(), "as_of": now_ms}
    return {"rows": rows, "bytes": sum(size for _, size in tables.values()), "fresh": fresh}
