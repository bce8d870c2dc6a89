"""Random purchases and views in a lake, and twelve traits of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import NOW
from expressions.rules.windows import DAY_MS
from lake.lake import Lake
from lake.schemas import EVENTS, TYPED
from pipelines.packing import sort_closed_days
from serving.ids import SHARDS_DEFAULT

TRAITS = {
    "orders_30d": "events.purchase.count_30d",
    "orders": "events.purchase.count",
    "spent_30d": "events.purchase.amount.sum_30d",
    "spent_90d": "events.purchase.amount.sum_90d",
    "average_90d": "events.purchase.amount.avg_90d",
    "biggest": "events.purchase.amount.max",
    "least_30d": "events.purchase.amount.min_30d",
    "views_7d": "events.view.count_7d",
    "viewed_today": "events.view.count_1d >= 1",
    "quiet_days": "last_seen_days_ago",
    "age_days": "first_seen_days_ago",
    "active_days_30d": "unique_days_30d",
}
EVENTS_AT_ONCE = 1_000_000


def generate(lake: Lake, events: int, users: int) -> None:
    """Appends purchases and views of users over 120 days; one in a thousand is a repeat of the event before it."""
    chance = np.random.default_rng(0)
    for start in range(0, events, EVENTS_AT_ONCE):
        n = min(EVENTS_AT_ONCE, events - start)
        numbers = np.arange(start, start + n)
        is_repeat = chance.random(n) < 0.001
        is_repeat[0] = False
        # The row whose content a row has. A repeat differs from the row before it in its seq alone.
        source = np.where(is_repeat, np.arange(n) - 1, np.arange(n))
        user_numbers = chance.integers(0, users, n)[source]
        amounts = np.round(chance.random(n) * 100, 2)[source]
        nulls = [pa.nulls(n, pa.string()), pa.nulls(n, pa.bool_()), pa.nulls(n, pa.string())]
        items = pa.StructArray.from_arrays([pa.array(amounts), *nulls], fields=list(TYPED))
        keys = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, "i4")), ["amount"]).cast(pa.string())
        columns: dict[str, Any] = {
            "ingest_date": pa.array(np.full(n, 20_833, "i4")).cast(pa.date32()),
            "shard": pa.array(user_numbers % SHARDS_DEFAULT, pa.int32()),
            "seq": pa.array(numbers + 1),
            "event_id": pa.array(np.char.add("e-", (start + source).astype(str))),
            "kind": pa.array(np.full(n, "track")),
            "id": pa.array(np.char.add("user:customer-", np.char.zfill(user_numbers.astype(str), 10))),
            "name": pa.array(np.where(chance.random(n)[source] < 0.5, "purchase", "view")),
            "ts": pa.array(NOW - chance.integers(0, 120 * DAY_MS, n)[source]),
            "received_at": pa.array(np.full(n, NOW - 1_000)),
            "props": pa.MapArray.from_arrays(pa.array(np.arange(n + 1, dtype="i4")), keys, items),
        }
        arrays = [columns.get(field.name, pa.nulls(n, field.type)) for field in EVENTS.columns]
        lake.append(EVENTS, pa.Table.from_arrays(arrays, schema=EVENTS.columns))


def filled_lake(folder: Path, events: int, users: int) -> Lake:
    """The lake of a folder, filled by the first caller alone, and sorted as the worker sorts days that are over."""
    lake = Lake(str(folder / "lake"))
    if not lake.holds_events():
        generate(lake, events, users)
        sort_closed_days(lake, "9999-12-31")
    return lake
