"""Real purchases, half imported and half live: every answer is that of the batch and of all events at once."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from expressions.bases import RawEvent, base_of
from expressions.frames import answer_frame, counted, values_of
from expressions.to_state import Program
from pipelines.importing import import_file
from tests.pipelines.world import World

PURCHASES = Path(__file__).parents[2] / "examples" / "cdnow" / "purchases.parquet"
DAY = 86_400_000
USERS = 400

TRAITS = {
    "spent": "events.purchase.amount.sum",
    "spent_90d": "events.purchase.amount.sum_90d",
    "orders": "events.purchase.count",
    "orders_30d": "events.purchase.count_30d",
    "average_365d": "events.purchase.amount.avg_365d",
    "least": "events.purchase.amount.min_90d",
    "most": "events.purchase.amount.max",
    "median_180d": "events.purchase.amount.median_180d",
    "first_amount": "events.purchase.amount.first",
    "last_amount": "events.purchase.amount.last",
    "sizes": "events.purchase.quantity.unique_365d",
    "usual": "events.purchase.quantity.most_frequent",
    "days_60d": "unique_days_60d",
    "quiet_days": "last_seen_days_ago",
    "big_orders": "events.purchase.where(amount >= 50).count_180d",
}
SEGMENTS = {"loyal": "orders_30d >= 1 && spent > 100"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("light_events_max", [256, 8])
def test_live_equals_batch_on_real_purchases(redis_url: str, tmp_path: Path, light_events_max: int) -> None:
    """Shuffled, repeated and retried, over several drains and rebuilds; with light ids and with heavy ones."""
    chance = random.Random(light_events_max)
    world = World(redis_url, tmp_path, light_events_max=light_events_max)
    world.recover()
    world.define("trait", TRAITS)
    world.define("segment", SEGMENTS)
    now = world.store.now_ms()
    rows = pl.read_parquet(PURCHASES)
    ids = rows.get_column("user_id").unique().sort()
    counts = rows.group_by("user_id").len().sort("len", "user_id", descending=True)
    chosen = set(chance.sample(ids.to_list(), USERS)) | set(counts.get_column("user_id")[:20])
    shift = now - rows.get_column("timestamp").dt.epoch("ms").max() - 1
    rows = rows.filter(pl.col("user_id").is_in(sorted(chosen))).with_columns(
        (pl.col("timestamp").dt.epoch("ms") + shift).alias("at")
    )
    live_users = set(chance.sample(sorted(chosen), len(chosen) // 2))
    is_live = pl.col("user_id").is_in(sorted(live_users)) & (pl.col("at") > now - 200 * DAY)
    history, live = rows.filter(~is_live), rows.filter(is_live)
    file = tmp_path / "history.parquet"
    history.select("user_id", "event", "quantity", "amount", "at").write_parquet(file)
    import_file(
        world.lake, file, user_column="user_id", event_column="event", time_column="at", now_ms=now, rows_at_once=700
    )
    sent = [
        {
            "type": "track",
            "userId": user,
            "event": event,
            "messageId": f"live-{number}",
            "timestamp": at,
            "properties": {"quantity": quantity, "amount": amount},
        }
        for number, (user, event, quantity, amount, at) in enumerate(
            live.select("user_id", "event", "quantity", "amount", "at").iter_rows()
        )
    ]
    calls = sent + chance.sample(sent, len(sent) // 3)
    chance.shuffle(calls)
    world.rebuild()
    for start in range(0, len(calls), 100):
        world.ingest(calls[start : start + 100])
        match chance.randrange(6):
            case 0 | 1:
                world.drain().step()
            case 2:
                world.rebuild()
            case 3:
                world.ingest(chance.sample(calls[: start + 100], 20))

    truth: dict[str, list[RawEvent]] = {}
    for user, event, quantity, amount, at in rows.select("user_id", "event", "quantity", "amount", "at").iter_rows():
        truth.setdefault(user, []).append(RawEvent("track", event, at, {"quantity": quantity, "amount": amount}))
    bounds = world.catalogue.bounds
    whole = Program(list(bounds.values()))
    for user in chance.sample(sorted(chosen), 120):
        answers = world.answers(user)
        assert not answers.warming
        judged = whole.evaluate([base_of(truth[user])], answers.now_ms)
        for key, answer in answers.values.items():
            assert (answer.value, type(answer.value)) == (judged[key].value, type(judged[key].value)), (user, key)

    world.drain().step()
    events = counted(world.lake.events()).collect().lazy()
    assert events.select(pl.len()).collect().item() == len(rows)
    for user in sorted(chosen):
        answers = world.answers(user)
        mine = events.filter(pl.col("id") == f"user:{user}")
        batch = answer_frame(mine, list(bounds.values()), answers.now_ms) if user in live_users else None
        for key, answer in answers.values.items() if batch is not None else ():
            assert values_of(batch, key)[f"user:{user}"] == answer.value, (user, key)
