"""The benchmark measures analyses against queries by hand: both must answer the same, or the ratio says nothing."""

from __future__ import annotations

import pytest

from benchmarks import purchases
from benchmarks.analyses import by_hand, numbers_of, order_of
from lake.lake import Lake
from serving.lookups.analyses import ANALYSES, AnalysisKind, Progress, analyse


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A lake of events of some people, of which some were sent twice."""
    lake = Lake(str(tmp_path_factory.mktemp("floor") / "lake"))
    purchases.generate(lake, 6_000, 400)
    return lake.root


@pytest.mark.parametrize("analysis", ANALYSES)
def test_the_query_by_hand_and_the_analysis_give_the_same_numbers(root: str, analysis: AnalysisKind) -> None:
    """All days of a trend, segments of an overlap, definitions that an edit reaches, and people of a segment."""
    reports: list[Progress] = []
    analyse(order_of(root, analysis), reports.append)

    result = reports[-1].result
    assert result is not None
    numbers = numbers_of(analysis, result)
    assert numbers["total"] > 300
    assert numbers == by_hand(root, analysis)
