"""The demo on a home of its own: what it prints, and that Prefect records its rebuilds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from lake.lake import Lake
from tests.demo import Demo
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.deep]

PURCHASES = 69_659


@pytest.mark.timeout(300)
def test_the_demo_loads_real_purchases_and_shows_decisions_change(demo: Demo) -> None:
    """Every purchase is in the lake. Live events turn one flag on, and another flag on and off again."""
    events = Lake(demo.stack.lake_uri).events().filter(pl.col("seq").is_null())
    lines = demo.printed.splitlines()
    rows = {cells[1]: cells for line in lines if len(cells := [cell.strip() for cell in line.split("│")]) > 4}

    assert events.select(pl.len()).collect().item() == PURCHASES
    assert rows["3 x Product Viewed"][2:4] == ["help_chat", "yes"]
    assert rows["2 purchases, 500.75"][2:4] == ["free_shipping", "yes"]
    assert rows["identify plan=premium"][2:4] == ["help_chat", "no"]
    assert demo.stack.api_url in demo.printed


@pytest.mark.timeout(300)
def test_the_demo_can_be_read_by_a_script(demo: Demo) -> None:
    """The demo, run again with --json, prints one JSON document: nothing is imported twice, decisions, addresses."""
    document = json.loads(demo.tinycdp("demo", "--json"))

    assert [document["imported"][name] for name in ("accepted", "rejected", "already")] == [0, 0, PURCHASES]
    assert [(decision["flag"], decision["allow"]) for decision in document["decisions"]] == [
        ("free_shipping", False),
        ("help_chat", False),
        ("help_chat", True),
        ("free_shipping", True),
        ("help_chat", False),
    ]
    assert Path(document["keys_file"]).exists()
    assert httpx.get(f"{document['api_url']}/health", timeout=30).status_code == 200


def test_rebuilds_are_flow_runs_of_prefect(demo: Demo) -> None:
    """Prefect has a completed run of the flow `rebuild`, which the import asked for."""
    stack = demo.stack
    assert stack.prefect_url is not None

    def records(kind: str) -> list[dict[str, Any]]:
        answer = httpx.post(f"{stack.prefect_url}/api/{kind}/filter", json={}, timeout=30)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows

    def has_one() -> bool:
        names = {flow["id"]: flow["name"] for flow in records("flows")}
        return ("rebuild", "COMPLETED") in {(names[run["flow_id"]], run["state_type"]) for run in records("flow_runs")}

    # The worker records what it did after it did it, and not what it began while a busy Prefect gave no answer: that
    # counts all the same, and the next one is recorded.
    wait_until(lambda: has_one() or (demo.tinycdp("rebuild") and has_one()), "the record of a rebuild", 120)
