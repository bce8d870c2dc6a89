"""Real purchases, half of the users live: live and in the batch, every answer is the oracle's.

`.ci/run` looks at all users, `make test` at a tenth of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from expressions.bases import RawEvent
from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, values_of
from expressions.definitions import Key
from expressions.rules.values import Value
from pipelines.importing.import_file import import_file
from serving.ids import namespaced
from serving.people.person import DecodedBases, person
from serving.store.records import Reading
from tests.chance import part_of
from tests.oracle import judge
from tests.pipelines.world import World

PURCHASES = Path(__file__).parents[2] / "examples" / "cdnow" / "purchases.parquet"
DAY = 86_400_000
#: Events of one call, and users that are read together.
AT_ONCE = 500

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


@pytest.mark.deep(kept=1)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("light_events_max", [256, 8])
def test_live_equals_batch_on_real_purchases(redis_url: str, tmp_path: Path, light_events_max: int) -> None:
    """Every answer is the oracle's, live and in the batch, with light ids and with heavy ones.

    The last 200 days of a random half of the users come live, shuffled, repeated and retried, over several drains and
    rebuilds. All else comes from files, one of them meanwhile.
    """
    chance = random.Random(light_events_max)
    world = World(redis_url, tmp_path, light_events_max=light_events_max)
    world.recover()
    world.define("trait", TRAITS)
    world.define("segment", SEGMENTS)
    now = world.store.now_ms()
    rows = pl.read_parquet(PURCHASES)
    at = pl.col("timestamp").dt.epoch("ms") + (now - rows.get_column("timestamp").dt.epoch("ms").max() - 1)
    rows = rows.select("user_id", "event", "quantity", "amount", at.alias("at"))
    users = rows.get_column("user_id").unique().sort().to_list()
    users = sorted(chance.sample(users, part_of(len(users))))
    rows = rows.filter(pl.col("user_id").is_in(users))
    is_live = pl.col("user_id").is_in(chance.sample(users, len(users) // 2)) & (pl.col("at") > now - 200 * DAY)
    history = rows.filter(~is_live)
    imports = [history.head(len(history) // 2), history.slice(len(history) // 2)]

    def import_next() -> None:
        file = tmp_path / f"history{len(imports)}.parquet"
        imports.pop().write_parquet(file)
        import_file(world.lake, file, user_column="user_id", event_column="event", time_column="at", now_ms=now)

    import_next()
    world.rebuild()

    sent = [
        {
            "type": "track",
            "userId": user,
            "event": event,
            "messageId": f"live-{number}",
            "timestamp": at,
            "properties": {"quantity": quantity, "amount": amount},
        }
        for number, (user, event, quantity, amount, at) in enumerate(rows.filter(is_live).iter_rows())
    ]
    calls = sent + chance.sample(sent, len(sent) // 3)
    chance.shuffle(calls)
    starts = range(0, len(calls), AT_ONCE)
    rebuilt_at = set(chance.sample(starts, 2))
    for start in starts:
        world.ingest(calls[start : start + AT_ONCE])
        if start in rebuilt_at:
            if imports:
                import_next()  # the rest of the history comes while live events do
            world.rebuild()
        match chance.randrange(4):
            case 0 | 1:
                world.drain().step()
            case 2:
                world.ingest(chance.sample(calls[: start + AT_ONCE], 20))
            case 3:
                world.rebuild([namespaced("user", user) for user in chance.sample(users, 5)])

    truth: dict[str, list[RawEvent]] = {user: [] for user in users}
    for user, event, quantity, amount, ts_ms in rows.iter_rows():
        truth[user].append(RawEvent("track", event, ts_ms, {"quantity": quantity, "amount": amount}))
    bounds = world.catalogue.bounds
    at_ms = world.store.now_ms()
    judged = {key: {user: judge(bound.expr, truth[user], at_ms)[0] for user in users} for key, bound in bounds.items()}
    live = answered(world, users, at_ms)
    world.drain().step()
    events = counted(world.lake.events()).collect().lazy()
    batch = answer_frame(events, list(bounds.values()), at_ms)

    assert events.select(pl.len()).collect().item() == len(rows)
    for key in bounds:
        in_batch = values_of(batch, key)
        assert live[key] == judged[key], key
        assert {user: in_batch[namespaced("user", user)] for user in users} == judged[key], key


def answered(world: World, users: list[str], at_ms: int) -> dict[Key, dict[str, Value]]:
    """The live values of every definition, by user, at an instant. Asserts that none is warming."""
    catalogue = world.catalogue
    values: dict[Key, dict[str, Value]] = {key: {} for key in catalogue.bounds}
    for start in range(0, len(users), AT_ONCE):
        part = users[start : start + AT_ONCE]
        reading = world.store.records([namespaced("user", user) for user in part])
        for user, record in zip(part, reading.records, strict=True):
            alone = Reading([record], at_ms, reading.catalogue_version)
            answers = person(alone, catalogue, DecodedBases()).answers(values)
            assert answers.now_ms == at_ms and not answers.warming and answers.exact, user
            for key, answer in answers.values.items():
                values[key][user] = answer.value
    return values
