"""Leases that a block held are free once it has ended, however its renewals fall."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import leases
from tests.pipelines.world import World

ROUNDS = 50


def test_a_renewal_takes_no_lease_that_was_given_back(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that renews asks without a pause here. Else the lease would stay with somebody who is gone."""
    world = World(redis_url, tmp_path, shards=1)
    monkeypatch.setattr(leases, "BEAT_S", 0)
    for _ in range(ROUNDS):
        with leases.leases(world.store, ["drain", "rebuild"], 5):
            pass
        assert world.store.hold_lease("drain", "another", 1) and world.store.hold_lease("rebuild", "another", 1)
        world.store.release_lease("drain", "another")
        world.store.release_lease("rebuild", "another")
