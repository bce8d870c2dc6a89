"""Judges a stack after a fault, by what its clients were told: the lake is exact, and every event counts once."""

from __future__ import annotations

import polars as pl

from lake.lake import Lake
from tests.faults.load import Load
from tests.running import RunningStack

SHARDS = 16


def assert_lake_is_exact(root: str) -> None:
    """Asserts that the lake's rows of every shard are seq 1 to its transaction, and that no event id is there twice."""
    lake = Lake(root)
    version = lake.events_version()
    rows = lake.events(version).filter(pl.col("seq").is_not_null()).select("shard", "seq", "id", "event_id").collect()
    for shard, upto in enumerate(lake.transaction_versions(version, SHARDS)):
        seqs = rows.filter(pl.col("shard") == shard).get_column("seq").sort().to_list()
        assert seqs == list(range(1, upto + 1)), f"shard {shard} has other rows than 1 to {upto}"
    assert not rows.select("id", "event_id").is_duplicated().any(), "an event is in the lake twice"


def assert_all_counted(stack: RunningStack, sent: Load) -> None:
    """Asserts that every user's live answers are those of brute force over the acknowledged events."""
    for user, (orders, spent) in sent.expected().items():
        answer = stack.traits(user)
        assert answer["traits"] == {"orders": orders, "spent": spent}, user
        assert not answer["warming"], user


def assert_in_lake(root: str, sent: Load) -> None:
    """Asserts that the lake has every acknowledged event of this load, once."""
    event_ids = Lake(root).events().select("event_id").collect().get_column("event_id").to_list()
    ours = [event_id for event_id in event_ids if event_id.startswith(f"{sent.name}-")]
    assert sorted(ours) == sorted(sent.sent)
