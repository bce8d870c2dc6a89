"""Tables that another release of TinyCDP made: an older one, with fewer columns, or a newer one, with more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Field, Transaction, write_deltalake
from deltalake.schema import PrimitiveType

from lake.lake import Lake, log_app
from lake.schemas import EVENTS, TABLES, TRAITS
from pipelines.maintain import maintain
from pipelines.rows import event_rows
from serving.history import latest_undeleted
from serving.ids import shard_of
from serving.ingest.accept import Limits, accept
from serving.store.logged_event import LogEntry
from serving.times import rfc3339
from tests.pipelines.world import World, purchase

SHARDS = 4
DAY_MS = 86_400_000
#: The column of each table that the older release does not know.
UNKNOWN = {table.name: table.columns.names[-1] for table in TABLES}
#: A column that the newer release adds.
LATER = pa.field("later", pa.string())


def made(root: str, version: str, now_ms: int) -> None:
    """Makes all tables as that release has them, with a first purchase of ada."""
    for table in TABLES:
        columns = [column for column in table.columns if version == "newer" or column.name != UNKNOWN[table.name]]
        DeltaTable.create(
            f"{root}/{table.name}",
            schema=pa.schema([*columns, *([LATER] if version == "newer" else [])]),
            partition_by=list(table.partition) or None,
        )
    event = accept(purchase("ada", 1), Limits())
    shard = shard_of(event.id, SHARDS)
    rows = event_rows([(shard, LogEntry(1, event, now_ms, now_ms))])
    rows = (
        rows.append_column(LATER, pa.array(["a value"]))
        if version == "newer"
        else rows.drop_columns([UNKNOWN["events"]])
    )
    write_deltalake(
        f"{root}/events",
        rows,
        mode="append",
        commit_properties=CommitProperties(app_transactions=[Transaction(log_app(shard), 1)]),
    )


@pytest.mark.parametrize("version", ["older", "newer"])
def test_work_goes_on_with_tables_of_another_release(redis_url: str, tmp_path: Path, version: str) -> None:
    """Drain, rebuild and maintenance work on tables of another release. An older table gets the columns that it lacks;
    the columns of a newer one that we do not know keep their values, whatever is rewritten. The lake keeps the id by
    which Redis knows it."""
    world = World(redis_url, tmp_path, shards=SHARDS)
    made(world.lake.root, version, world.store.now_ms())
    made_with = DeltaTable(f"{world.lake.root}/{EVENTS.name}").metadata().id
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    old_ms = world.store.now_ms() - 40 * DAY_MS
    world.ingest([purchase("ada", 2), purchase("bob", 3), purchase("bob", 4, timestamp=rfc3339(old_ms))])
    world.drain().step()
    for _ in range(2):  # the second replaces what the first wrote
        world.rebuild()
    assert (world.values("ada"), world.values("bob")) == ({"orders": 2}, {"orders": 2})

    tomorrow = datetime.fromtimestamp(world.store.now_ms() / 1000, UTC) + timedelta(days=1)
    assert maintain(world.lake, tomorrow, retention_days=30)["retention"]["removed"] == 1
    world.rebuild()
    assert (world.values("ada"), world.values("bob")) == ({"orders": 2}, {"orders": 1})
    assert latest_undeleted(world.lake, TRAITS).select("id", "key", "number").sort("id").collect().rows() == [
        ("user:ada", "orders", 2),
        ("user:bob", "orders", 1),
    ]
    rows = world.lake.scan(EVENTS).sort("id", "seq").collect()
    assert rows.get_column("event_id").to_list() == ["ada-1", "ada-2", "bob-3"]
    if version == "newer":
        assert rows.get_column("later").to_list() == ["a value", None, None]
    for table in TABLES:
        names = [field.name for field in world.lake.open(table).schema().fields]
        assert sorted(names) == sorted([*table.columns.names, *(["later"] if version == "newer" else [])])
    assert Lake(world.lake.root).id() == world.store.noted_lake() == str(made_with)


@pytest.mark.parametrize("step", ["checked", "read", "before_write", "after_write"])
def test_a_column_that_is_added_meanwhile_costs_no_event(redis_url: str, tmp_path: Path, step: str) -> None:
    """A newer process may add a column at any step of a drain's round. The round is made anew, and no event is lost."""
    world = World(redis_url, tmp_path, shards=SHARDS)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.ingest(purchase(f"u{number % 5}", number) for number in range(20))

    def on_step(reached: str) -> None:
        opened = Lake(world.lake.root).open(EVENTS)
        if reached == step and "later" not in [field.name for field in opened.schema().fields]:
            opened.alter.add_columns([Field("later", PrimitiveType("string"))])

    world.drain(on_step).step()
    world.ingest(purchase(f"u{number % 5}", number) for number in range(20, 30))
    world.drain().step()
    world.rebuild()
    assert world.lake.scan(EVENTS).select(pl.len(), pl.col("event_id").n_unique()).collect().row(0) == (30, 30)
    assert [world.values(f"u{number}")["orders"] for number in range(5)] == [6] * 5
