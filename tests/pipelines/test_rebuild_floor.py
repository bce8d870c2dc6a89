"""The benchmark measures the rebuild against a query by hand: both must answer the same, or the ratio says nothing."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from benchmarks import purchases, rebuild
from lake.lake import Lake
from lake.schemas import TRAITS
from serving.history import latest_undeleted


def test_the_query_by_hand_and_ours_give_the_same_values(tmp_path: Path) -> None:
    """All twelve traits of everybody agree, over events of which some were sent twice."""
    lake = Lake(str(tmp_path / "lake"))
    purchases.generate(lake, 6_000, 400)
    rebuild.ours(lake)
    rebuild.by_hand(lake)

    number = pl.coalesce("number", pl.col("boolean").cast(pl.Float64))
    ours = latest_undeleted(lake, TRAITS).select("id", "key", number.alias("number")).sort("id", "key").collect()
    by_hand = pl.read_delta(f"{lake.root}/by_hand").select("id", "key", "number").sort("id", "key")
    assert lake.events().select(pl.struct("id", "event_id").n_unique()).collect().item() < 6_000
    assert ours["key"].unique().sort().to_list() == sorted(purchases.TRAITS)
    assert ours.select("id", "key").equals(by_hand.select("id", "key"))
    # Polars divides by a constant through its reciprocal, which rounds once more.
    assert ours["number"].to_list() == pytest.approx(by_hand["number"].to_list(), rel=1e-14, abs=0)
