"""What one API process serves with: the store, the catalogue as it last saw it, the keys and the door to the lake."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from serving.access import made_keys
from serving.access.keys import Keys
from serving.definitions.catalogue import Catalogue, decode
from serving.history import History
from serving.http.tally import Tally
from serving.ingest.projection import tail_payload
from serving.lookout import Lookout, Recent
from serving.people.gather import gather
from serving.people.links import RefusedClaim, claims_with_receipts, distinct_claims, link_claims
from serving.people.person import DecodedBases
from serving.refusals import Refusal, TooMany, Unavailable
from serving.settings import Settings
from serving.store.errors import (
    ProjectionOutdated,
    ServerReplaced,
    ShardNotReady,
    StoreError,
    StoreFull,
    StoreUnreachable,
)
from serving.store.logged_event import Accepted
from serving.store.operations.events import Arrival, Receipts
from serving.store.operations.links import Claim
from serving.store.operations.shards import ShardState
from serving.store.records import Reading
from serving.store.scripts.claim import Owner
from serving.store.scripts.script import Steps
from serving.store.store import AsyncStore, Store

log = structlog.get_logger()

RETRY_AFTER_S = 1
REBUILD_ASKED_S = 10.0
ASKED_MAX = 10_000
#: What is full needs a drain or a rebuild first.
FULL_RETRY_AFTER_S = 10
T = TypeVar("T")

#: How long the numbers of `/v1/admin/metrics` are not asked for again.
SIZES_GOOD_S = 2.0
#: How often a call is repeated with newer definitions before the caller is asked to.
RELOADS_MAX = 5


@dataclass
class Engine:
    """The parts of a process. Only the catalogue changes, and only as a whole."""

    settings: Settings
    store: AsyncStore
    admin_store: Store
    history: History
    keys: Keys
    tally: Tally = field(default_factory=Tally)
    bases: DecodedBases = field(default_factory=DecodedBases)
    catalogue: Catalogue | None = None
    _asked_s: dict[str, float] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.lake_seen = Lookout(self.history.reach)
        self.storage_seen = Lookout(self.history.reach_storage)
        self.sizes: Recent[dict[str, Any]] = Recent(SIZES_GOOD_S)

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def known_catalogue(self) -> Catalogue:
        """The catalogue as this process saw it last, perhaps not the newest; loaded where it has seen none.

        Good for events: the shard that they go to refuses a projection that is too old (`ingest`).
        """
        return self.catalogue or await self.reload(None)

    async def current(self) -> Catalogue:
        """The catalogue as it stands now. Raises `Unavailable` while Redis is away or being restored."""
        reading = await self.read([])
        return await self.at_least(reading.catalogue_version)

    async def at_least(self, version: int | None) -> Catalogue:
        """A catalogue of this version or a newer one: the one at hand, else Redis'."""
        held = self.catalogue
        if held is not None and version is not None and held.version == version:
            return held
        return await self.reload(held)

    async def reload(self, held: Catalogue | None) -> Catalogue:
        """Redis' catalogue, loaded once for all who wait for something newer than `held`."""
        async with self._loading:
            if self.catalogue is not None and self.catalogue is not held:
                return self.catalogue
            text = await self._asked(self.store.catalogue())
            if text is None:
                raise Unavailable("definitions are being restored", {"remedy": "try again"}, RETRY_AFTER_S)
            found = decode(text)
            if held is not None:
                found.with_compiled(held)
            self.catalogue = found
            return found

    # ── events in ────────────────────────────────────────────────────────────────────────────────────────────────

    async def ingest(self, events: Sequence[Accepted], catalogue: Catalogue) -> tuple[Receipts, list[RefusedClaim]]:
        """Takes events and makes the links that they claim: a receipt for each event, and the claims that were refused.

        Returns when Redis has synced them. A repeat of the whole call is safe. `catalogue` is the one that the events
        were checked by; where a shard knows a newer projection, that one is loaded and all is sent again.

        Raises `TooMany` when an id's tail or the log is full, `Unavailable` while Redis is away or being restored.
        """
        claims = distinct_claims(events)
        for _ in range(RELOADS_MAX):
            projection = catalogue.projection
            arrivals = [Arrival(event, tail_payload(event, projection)) for event in events]
            try:
                receipts, owners = await self._sent(arrivals, catalogue.projection_version, claims)
            except ProjectionOutdated:
                catalogue = await self.reload(catalogue)
                continue
            busy = sum(outcome.busy for outcome in receipts.outcomes)
            duplicates = sum(outcome.duplicate for outcome in receipts.outcomes)
            self.tally.ingested(len(events) - busy, duplicates)
            if busy:
                raise TooMany(
                    "an id has more events than the batch has covered yet",
                    {"remedy": "send the same request again after Retry-After"},
                    FULL_RETRY_AFTER_S,
                )
            if all(owner is not None and owner.id == claim.owner for claim, owner in zip(claims, owners, strict=True)):
                return receipts, []
            claims = claims_with_receipts(claims, events, receipts.came_ms)
            return receipts, await self.follow(link_claims(self.store.operations, claims, owners))
        raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, RETRY_AFTER_S)

    async def _sent(
        self, arrivals: Sequence[Arrival], projection: int, claims: Sequence[Claim]
    ) -> tuple[Receipts, list[Owner | None]]:
        """The receipts of events; and the owner of each claimed id, read in the same round trip."""
        if not claims:
            return await self._asked(self.store.ingest(arrivals, projection)), []
        owners = self.store.owners([claim.id for claim in claims])
        return await self._asked(asyncio.gather(self.store.ingest(arrivals, projection), owners))

    async def keep_rejected(self, items: Sequence[bytes]) -> None:
        """Keeps refused events with their reasons, as many as there is room for."""
        self.tally.rejected += len(items)
        await self._asked(self.store.reject(items))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def read(self, ids: Sequence[str]) -> Reading:
        """Some records as of one moment."""
        return await self._asked(self.store.records(ids))

    async def follow(self, steps: Steps[T]) -> T:
        """Follows requests that depend on each other."""
        return await self._asked(self.store.follow(steps))

    async def shard_states(self) -> list[ShardState]:
        """Where every shard's log stands."""
        return await self._asked(self.store.shard_states())

    async def ask_totals(self) -> tuple[bytes | None, int]:
        """What the last full rebuild counted, if there was one; and how many keys admins have made."""
        return await self._asked(self.store.totals())

    async def read_person(self, namespaced_id: str) -> Reading:
        """The records of the person that an id belongs to."""
        reading = await self.read([namespaced_id])
        (record,) = reading.records
        if record.owner is None and not record.members:  # as most are, and then this is all
            return reading
        return await self.follow(gather(self.store.operations, namespaced_id))

    async def want_rebuild_of(self, ids: Sequence[str]) -> None:
        """Asks for a rebuild of ids whose bases lack something, each at most once in `REBUILD_ASKED_S`."""
        now_s = time.monotonic()
        wanted = [one for one in ids if now_s - self._asked_s.get(one, -REBUILD_ASKED_S) >= REBUILD_ASKED_S]
        if wanted:
            if len(self._asked_s) > ASKED_MAX:
                self._asked_s.clear()
            self._asked_s.update(dict.fromkeys(wanted, now_s))
            await self._asked(self.store.want_rebuild_of(wanted))

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def follow_keys(self) -> None:
        """Learns of keys that were made or revoked, by any process, and notes which were used. Once: see `app`."""
        self.keys.know(made_keys.callers(made_keys.decode(await self._asked(self.store.api_keys()))))
        used = self.keys.take_used()
        if used:
            await self._asked(self.store.note_used(dict.fromkeys(used, self.clock_ms())))

    def clock_ms(self) -> int:
        """This machine's clock, UTC: for times that only people read."""
        return time.time_ns() // 1_000_000

    async def _asked(self, asking: Awaitable[T]) -> T:
        """The answer of the store, its errors as refusals that say when to try again."""
        try:
            return await asking
        except ProjectionOutdated:
            raise  # for the caller to mend
        except StoreError as error:
            raise refusal_of(error) from error


def refusal_of(error: StoreError) -> Refusal:
    """What a caller is told of a Redis that does not answer, is not ready, has no room, or refuses what it gets."""
    if isinstance(error, ShardNotReady):
        return Unavailable(f"{error}", {"remedy": "try again"}, RETRY_AFTER_S)
    if isinstance(error, StoreFull):
        return TooMany(f"{error}", {"remedy": "try again"}, FULL_RETRY_AFTER_S)
    if not isinstance(error, (StoreUnreachable, ServerReplaced)):
        log.error("refused_by_redis", exc_info=error)
    return Unavailable("Redis is away", {"remedy": "try again"}, RETRY_AFTER_S)
