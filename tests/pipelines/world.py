"""A small system in one process: a real Redis, a real lake, and the parts that work between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import redis

from expressions.definitions import Definition, DefinitionKind
from lake.lake import Lake
from pipelines.drain import Drain
from pipelines.rebuild import Run, rebuild
from pipelines.recover import recover
from serving.definitions import saving
from serving.definitions.catalogue import Catalogue
from serving.ids import record_of
from serving.ingest.accept import Limits, accept
from serving.ingest.projection import tail_payload
from serving.people.gather import gather
from serving.people.links import claims_with_receipts, distinct_claims, link_claims
from serving.people.person import Answers, DecodedBases, person
from serving.settings import Settings
from serving.store.logged_event import Accepted
from serving.store.operations.events import Arrival, Receipts
from serving.store.scripts.ingest import TailLimits
from serving.store.store import Store
from tests.waiting import wait_until


class World:
    """One system on one Redis and one folder, with the lake in it, or in an object store."""

    def __init__(
        self,
        redis_url: str,
        folder: Path,
        limits: TailLimits | None = None,
        lake_root: str | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(home=folder, redis_url=redis_url, **settings)
        self.store = Store(redis_url, self.settings.shards, limits or TailLimits())
        self.lake = Lake(lake_root or str(folder / "lake"))

    def recover(self) -> bool:
        """Recovers Redis, as the drain does before each round; returns whether anything had to be recovered."""
        return recover(self.store, self.lake, self.settings)

    def drain(self, on_step: Callable[[str], None] = lambda step: None, **bounds: int) -> Drain:
        """A drain of this world."""
        return Drain(self.store, self.lake, self.settings, on_step=on_step, **bounds)

    def rebuild(self, ids: list[str] | None = None) -> Run:
        """A rebuild of everybody, or of some ids."""
        return rebuild(self.store, self.lake, self.settings, ids=ids)

    def define(self, kind: DefinitionKind, definitions: Mapping[str, str]) -> None:
        """Saves definitions."""
        for key, expression in definitions.items():
            saving.save(self.store, self.lake.holds_events, Definition(kind, key, expression), 0)
        self.write_down()

    def write_down(self) -> None:
        """Writes the definitions that wait into the lake's history, as savers and the drain do."""
        saving.write_down(self.store, self.lake.append_definitions)

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue as it stands."""
        return saving.current(self.store)

    def ingest(self, raw: Iterable[Mapping[str, Any]]) -> Receipts:
        """Sends events as one request, and links the ids that they name together."""
        catalogue = self.catalogue
        events: list[Accepted] = [accept(event, Limits()) for event in raw]
        arrivals = [Arrival(event, tail_payload(event, catalogue.projection)) for event in events]
        # A link in the very millisecond of an unlink or a delete links nobody, so these events come after it.
        last_ms = max(state.last_received_ms for state in self.store.shard_states())
        wait_until(lambda: self.store.now_ms() != last_ms, "another millisecond")
        receipts = self.store.ingest(arrivals, catalogue.projection_version)
        claims = claims_with_receipts(distinct_claims(events), events, receipts.came_ms, receipts.new_seqs)
        owners = self.store.owners([claim.id for claim in claims])
        self.store.follow(link_claims(self.store.operations, claims, owners))
        return receipts

    def answers(self, user: str) -> Answers:
        """All traits and segments of a user, or of the id that a prefix says, live."""
        catalogue = self.catalogue
        reading = self.store.follow(gather(self.store.operations, record_of(user)))
        keys = [key for key in catalogue.definitions if key[0] != "flag"]
        return person(reading, catalogue, DecodedBases()).answers(keys)

    def values(self, user: str) -> dict[str, Any]:
        """The values of a user's traits and segments."""
        return {key: answer.value for (_, key), answer in self.answers(user).values.items()}

    def seqs(self, shard: int) -> list[int]:
        """The seqs of a shard's rows in the lake, in order."""
        seqs: list[int] = self.lake.shard_rows(shard, 0, 2**60).get_column("seq").to_list()
        return seqs


def purchase(user: str, number: int, **more: Any) -> dict[str, Any]:
    """A purchase with an id of its own."""
    return {"type": "track", "userId": user, "event": "purchase", "messageId": f"{user}-{number}", **more}


def empty_world(url: str, folder: Path, kind: DefinitionKind, definitions: Mapping[str, str]) -> World:
    """A system of two shards that is ready and knows the definitions; whatever was in this Redis is gone."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    world = World(url, folder, shards=2)
    world.recover()
    world.define(kind, definitions)
    return world
