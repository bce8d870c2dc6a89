"""A definition that is saved while a rebuild is under way is answered as it would have been without that rebuild."""

from __future__ import annotations

from pathlib import Path

from lake.lake import Lake
from pipelines.rebuild import cover, covered_by, rebuild
from serving.store.stamps import Stamp
from tests.pipelines.world import World, purchase


class LateLake(Lake):
    """A lake in which a definition is saved, used and drained just before its version is asked."""

    def __init__(self, world: World) -> None:
        super().__init__(world.lake.root)
        self.world = world

    def events_version(self) -> int:
        """The version after the save, the event and the drain."""
        self.world.define("trait", {"plan": "profile.plan"})
        self.world.ingest([{"type": "identify", "userId": "ann", "traits": {"plan": "pro"}}])
        self.world.drain().step()
        return super().events_version()


def test_a_rebuild_does_not_cover_what_it_did_not_know_of(redis_url: str, tmp_path: Path) -> None:
    """A base without the fields of newer definitions leaves the events that came with them in the tail."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})

    rebuild(world.store, LateLake(world), world.settings)

    answers = world.answers("ann")
    assert answers.values[("trait", "plan")].value == "pro"
    assert not answers.warming


def test_an_older_rebuild_does_not_take_back_what_an_empty_system_answers(redis_url: str, tmp_path: Path) -> None:
    """A rebuild that began before a definition came, and covers no more of the log, leaves the definition live."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    stamp = Stamp(world.lake.events_version(), world.store.next_build(), 0, world.store.now_ms(), 1)
    world.define("trait", {"plan": "profile.plan"})

    cover(world.store, [covered_by(stamp)] * 2)
    world.ingest([purchase("ann", 1), {"type": "identify", "userId": "ann", "traits": {"plan": "pro"}}])

    assert not world.answers("ann").warming
    assert world.values("ann") == {"orders": 1, "plan": "pro"}
