"""Redis at the bound of its memory: clients are told so, all that makes room goes on, and then events come in again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from pipelines.purge.purge import purge
from serving.people.deletion import delete_person
from serving.people.links import unlink_id
from serving.store.errors import StoreFull
from serving.store.reserve import PARTS
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get

#: Bytes that fill Redis beside what is ours, so that its reserve is an eighth of them.
FILLER = 24 * 2**20


class FullWorld(World):
    """A world on a server of its own, whose memory can be made full."""

    def __init__(self, server: EmbeddedRedis, folder: Path) -> None:
        super().__init__(server.url, folder, shards=4)
        self.client = redis.Redis.from_url(server.url)
        self.fill()

    def fill(self) -> None:
        """Adds what fills the memory."""
        self.client.config_set("maxmemory", 0)
        self.client.set("filler", bytes(FILLER))

    def bound(self, more: int = -(2**18)) -> None:
        """Bounds the memory by what is used now, and so much more; less, so that it is full by all means."""
        self.client.config_set("maxmemory", self.store.memory().used + more)

    def health(self, part: str) -> tuple[int, str | None]:
        """The status of a health check, and what it says of the memory."""
        (answer,) = answers(self.settings, [get(f"/{part}/health")])
        return answer.status_code, answer.json()["checks"].get("memory", {}).get("error")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[FullWorld]:
    """A recovered system with a trait, on a server with a filler."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        made = FullWorld(server, tmp_path)
        made.recover()
        made.define("trait", {"orders": "events.purchase.count"})
        yield made
        made.client.close()
        made.store.close()


def test_full_memory_comes_back_when_the_log_is_drained(world: FullWorld) -> None:
    """Events are refused at the bound and health says it with the remedy; the drain works, and they are taken again."""
    world.bound(more=4 * 2**20)
    taken = 0
    with suppress(StoreFull):
        while taken < 1_000:
            world.ingest([purchase(f"u{taken % 7}", taken, properties={"text": "x" * 30_000})])
            taken += 1
    assert 0 < taken < 1_000

    status, error = world.health("ingest")
    assert (status, error is not None and "TINYCDP_REDIS_MEMORY_MAX" in error) == (503, True)
    assert world.health("decide") == (200, None)
    drain = world.drain()
    assert world.store.hold_lease("drain", drain.token, 15_000, "gives way")
    world.store.beat("drain", b"{}", 10_000)
    while drain.step().has_more:
        pass

    assert not world.store.memory().is_full
    assert world.health("ingest") == (200, None)
    world.ingest([purchase("u0", taken)])
    assert sum(world.values(f"u{number}")["orders"] for number in range(7)) == taken + 1
    world.drain().step()
    assert world.lake.events().collect().height == taken + 1


def test_all_but_events_goes_on_while_memory_is_full(world: FullWorld) -> None:
    """Deletes, definitions, rebuilds, purges and a whole recovery work in the reserve, and answers are right."""
    events = [purchase(f"u{number % 40}", number) for number in range(400)]
    world.ingest([*events, purchase("ada", 1, anonymousId="device"), purchase("bob", 1)])
    while world.drain().step().has_more:
        pass

    def refused() -> bool:
        world.bound()
        with pytest.raises(StoreFull):
            world.ingest([purchase("more", 1)])
        return True

    assert refused()
    assert world.store.follow(unlink_id(world.store.operations, "anon:device", "unlinked")) is not None
    assert world.store.follow(delete_person(world.store.operations, "user:bob", "deleted"))
    assert refused()
    world.define("trait", {"distinct": "events.purchase.unique_days"})
    assert refused()
    world.drain().step()
    assert world.store.want_rebuild() > 0
    world.store.want_rebuild_of(["user:u1"])
    world.store.answer_rebuilds(world.store.rebuild_requests())
    world.rebuild()
    assert refused()
    assert purge(world.store, world.lake, with_today=True).rows["events"] > 0
    expected = {f"u{number}": {"orders": 10, "distinct": 1} for number in range(40)}
    assert {user: world.values(user) for user in expected} == expected

    world.client.flushall()
    world.fill()
    world.bound()
    assert world.recover()
    assert refused()
    assert {user: world.values(user) for user in expected} == expected
    assert world.values("bob") == {"orders": 0, "distinct": 0}


def test_a_reserve_that_is_used_up_ends_a_rebuild_with_the_remedy(world: FullWorld) -> None:
    """What is large ends beyond the reserve, before Redis takes the machine's memory; what is small still goes on."""
    world.ingest([purchase("ada", 1)])
    world.drain().step()
    world.client.config_set("maxmemory", world.store.memory().used * PARTS // (PARTS + 2))

    with pytest.raises(StoreFull, match=r"its reserve.*TINYCDP_REDIS_MEMORY_MAX"):
        world.rebuild()
    assert world.store.hold_lease("drain", "token", 15_000)
    assert world.store.follow(delete_person(world.store.operations, "user:ada", "deleted"))
    world.drain().step()
    assert world.values("ada") == {"orders": 0}
