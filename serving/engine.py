"""What one API process serves with: the store, the catalogue that it saw last, the keys and the door to the lake.

Here events go in and people are read, over the store, so here its errors become refusals (`with_refusals`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import structlog

from expressions.errors import ExpressionError
from serving.access import made_keys
from serving.access.keys import Caller, Keys, Permission, Tagged, sent_key
from serving.definitions.catalogue import Catalogue, decode
from serving.history import History, Source
from serving.http.tally import Tally
from serving.ingest.accept import Limits, check_summed
from serving.ingest.projection import tail_payload
from serving.lookout import Lookout, Paced, Recent, Refreshed, Together
from serving.people.gather import gather
from serving.people.links import RefusedClaim, claims_with_receipts, distinct_claims, link_claims
from serving.people.person import DecodedBases
from serving.refusals import Invalid, Refusal, TooMany, Unavailable
from serving.settings import Settings
from serving.store.deadlines import seconds_left
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
from serving.store.records import Reading, Record
from serving.store.requests import Steps
from serving.store.scripts.claim import Owner
from serving.store.store import AsyncStore, Store

log = structlog.get_logger()

T = TypeVar("T")

RETRY_AFTER_S = 1
#: A full log or tail first needs a drain or a rebuild.
FULL_RETRY_AFTER_S = 10
#: A rebuild of one id is wanted at most once in so many seconds, by each process.
REBUILD_WANTED_S = 10.0
#: Ids whose last want is remembered; beyond it all are forgotten, and may be wanted again at once.
WANTED_IDS_MAX = 10_000
#: The numbers of `/v1/admin/metrics` are good for so long.
SIZES_GOOD_S = 2.0
#: The names in the lake are read at most so often, and are at most so old.
VOCABULARY_GOOD_S = 5.0, 300.0
#: Keys that are not known are looked for in Redis at most so often. Whoever sends one waits that long.
KEYS_SOUGHT_S = 0.1
#: The state of Redis is looked at for health at most so often: anybody may ask. Whoever does waits that long.
STATE_SEEN_S = 0.05
#: What a process says of definitions that it cannot read.
NOT_UNDERSTOOD = "a newer version of TinyCDP saved definitions that this one does not understand"
#: A look at Redis' clock that takes longer does not tell the time well enough.
CLOCK_LOOK_MS_MAX = 500
#: So many refused events wait for the drain with their whole texts; of more the beginnings alone are kept.
WHOLE_REJECTED_MAX = 2_500
#: How often a call is sent again with newer definitions before its caller is told to do so.
RELOADS_MAX = 5


class RefusedByNewer(Exception):
    """Newer definitions refuse some events of a call: `refusals`, by the place in the call. `catalogue` has them."""

    def __init__(self, catalogue: Catalogue, refusals: dict[int, Invalid]) -> None:
        super().__init__(f"{len(refusals)} events")
        self.catalogue, self.refusals = catalogue, refusals


@dataclass
class Engine:
    """The parts of a process. Of these only the catalogue is replaced, and only as a whole."""

    settings: Settings
    store: AsyncStore
    admin_store: Store
    history: History
    keys: Keys
    tally: Tally = field(default_factory=Tally)
    bases: DecodedBases = field(default_factory=DecodedBases)
    catalogue: Catalogue | None = None
    #: Namespaced ids whose people have large records, as far as this process has seen (`serving.api.live_person`).
    large_ids: dict[str, None] = field(default_factory=dict)
    #: The newest definitions, where this release does not understand them.
    _not_understood: bytes | None = None
    _rebuild_wanted_s: dict[str, float] = field(default_factory=dict)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: How far Redis' clock is ahead of the monotonic one of this machine; None before the first look.
    _clock_ahead_ms: int | None = None

    def __post_init__(self) -> None:
        self.lake_seen = Lookout(self.history.reach)
        self.storage_seen = Lookout(self.history.reach_storage)
        self.keys_sought: Paced[None] = Paced(KEYS_SOUGHT_S)
        #: What health and metrics are told by (`serving.api.redis_state`).
        self.state_seen: Paced[Any] = Paced(STATE_SEEN_S)
        # One thread writes for all who wait: no more is held by a silent lake.
        self.history_written: Together[None, bool] = Together()
        self.names: Together[str | None, Any] = Together()
        self.sizes: Recent[dict[str, Any]] = Recent(SIZES_GOOD_S)
        self.vocabulary: Refreshed[dict[str, Any]] = Refreshed(*VOCABULARY_GOOD_S)

    # ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────

    async def known_catalogue(self) -> Catalogue:
        """The catalogue that this process saw last, perhaps not the newest; loaded where it has seen none.

        Good enough for events: their shard refuses a projection that is too old (`ingest`).
        """
        return self.catalogue or await self.reload(None)

    async def current(self) -> Catalogue:
        """The catalogue as it stands now. Raises `Unavailable` while Redis is away or being restored."""
        reading = await self.read([])
        return await self.at_least(reading.catalogue_version)

    async def at_least(self, version: int | None) -> Catalogue:
        """A catalogue of this version or a newer one: the one at hand, else the one in Redis."""
        known = self.catalogue
        if known is not None and version is not None and known.version == version:
            return known
        return await self.reload(known)

    async def reload(self, known: Catalogue | None) -> Catalogue:
        """The catalogue in Redis, loaded once for all who wait for a newer one than `known`.

        Raises `Unavailable` while Redis is away or being restored.
        """
        try:
            async with asyncio.timeout(seconds_left()):
                await self._loading.acquire()
        except TimeoutError:
            raise Unavailable("definitions are being loaded", {"remedy": "try again"}, RETRY_AFTER_S) from None
        try:
            if self.catalogue is not None and self.catalogue is not known:
                return self.catalogue
            text = await self.with_refusals(self.store.catalogue())
            if text is None:
                raise Unavailable("definitions are being restored", {"remedy": "try again"}, RETRY_AFTER_S)
            self.catalogue = self._understood(text, known)
            return self.catalogue
        finally:
            self._loading.release()

    def _understood(self, text: bytes, known: Catalogue | None) -> Catalogue:
        """The catalogue of a text. Raises `Unavailable` where this release does not know what a definition says.

        So it is beside a newer release that saved one. Each call would fail on its way otherwise, in a way of its own.
        Every call comes here then, so a text is looked at, and the log told of it, once.
        """
        if text == self._not_understood:
            raise _outdated()
        try:
            loaded = decode(text)
            if known is not None:
                loaded.with_compiled(known)
            assert loaded.bounds is not None  # each definition binds
        except (msgspec.ValidationError, ExpressionError) as error:
            self._not_understood = text
            log.error("definitions_not_understood", error=type(error).__name__, remedy=NOT_UNDERSTOOD)
            raise _outdated() from error
        self._not_understood = None
        return loaded

    @property
    def is_outdated(self) -> bool:
        """Whether the newest definitions, as this process saw them last, are such as this release does not know."""
        return self._not_understood is not None

    # ── events in ────────────────────────────────────────────────────────────────────────────────────────────────

    async def ingest(self, events: Sequence[Accepted], catalogue: Catalogue) -> tuple[Receipts, list[RefusedClaim]]:
        """The receipts of events, once they are synced and the links that they claim are made; and the refused claims.

        `catalogue` is the one that the events were checked by. Where a shard knows a newer one that matters, it is
        loaded, the events are checked again, and all is sent again. A repeat of the whole call is safe.

        Raises `RefusedByNewer` where newer definitions refuse some of the events: send the others again. Raises
        `TooMany` when an id's tail or the log is full, `Unavailable` while Redis is away or being restored.
        """
        claims = distinct_claims(events)
        for _ in range(RELOADS_MAX):
            projection = catalogue.projection
            arrivals = [Arrival(event, tail_payload(event, projection)) for event in events]
            try:
                receipts, owners = await self._send(arrivals, catalogue, claims)
            except ProjectionOutdated:
                catalogue = await self.reload(catalogue)
                refusals = _refusals(events, catalogue)
                if refusals:
                    raise RefusedByNewer(catalogue, refusals) from None
                continue
            busy = sum(outcome.busy for outcome in receipts.outcomes)
            duplicates = sum(outcome.duplicate for outcome in receipts.outcomes)
            self.tally.ingested(len(events) - busy, duplicates)
            if busy:
                raise TooMany(
                    "an id has more events than the batch has covered yet, or an import of such events is being undone",
                    {"remedy": "send the same request again after Retry-After"},
                    FULL_RETRY_AFTER_S,
                )
            if all(owner is not None and owner.id == claim.owner for claim, owner in zip(claims, owners, strict=True)):
                return receipts, []
            claims = claims_with_receipts(claims, events, receipts.came_ms, receipts.new_seqs)
            return receipts, await self.follow(link_claims(self.store.operations, claims, owners))
        raise Unavailable("definitions are changing too fast", {"remedy": "try again"}, RETRY_AFTER_S)

    async def _send(
        self, arrivals: Sequence[Arrival], catalogue: Catalogue, claims: Sequence[Claim]
    ) -> tuple[Receipts, list[Owner | None]]:
        """The receipts of events, and the owner of each claimed id, read in the same round trip."""
        receipts = self.store.ingest(arrivals, catalogue.projection_version, catalogue.version)
        if not claims:
            return await self.with_refusals(receipts), []
        owners = self.store.owners([claim.id for claim in claims])
        return await self.with_refusals(asyncio.gather(receipts, owners))

    async def keep_rejected(self, items: Sequence[bytes], cut: Sequence[bytes]) -> None:
        """Keeps refused events with their reasons, until the drain moves them to the lake; the newest 100,000.

        `cut` are the same with the beginning of their texts alone: they are kept where too many wait.
        """
        self.tally.rejected += len(items)
        waiting = (await self.with_refusals(self.store.waiting())).rejected
        await self.with_refusals(self.store.reject(items if waiting + len(items) <= WHOLE_REJECTED_MAX else cut))

    async def show_refused(self, items: Sequence[bytes]) -> None:
        """Keeps refused events for who watches, if there is room for them."""
        with suppress(Refusal):
            await self.with_refusals(self.store.keep_refused(items))

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    def read(self, ids: Sequence[str]) -> Coroutine[Any, Any, Reading]:
        """Some records as of one moment."""
        return self.with_refusals(self.store.records(ids))

    def follow(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        """The result of requests that depend on each other."""
        return self.with_refusals(self.store.follow(steps))

    async def read_person(self, namespaced_id: str) -> Reading:
        """The records of the person that an id belongs to."""
        reading = await self.read([namespaced_id])
        (record,) = reading.records
        if record.owner is None and not record.members:  # most ids: the record is all of the person
            return reading
        return await self.follow(gather(self.store.operations, namespaced_id))

    async def read_marks(self, namespaced_id: str) -> Sequence[Record]:
        """The same records without bases and tails: little work, however large they are."""
        return (await self.follow(gather(self.store.operations, namespaced_id, only_marks=True))).records

    async def source(self) -> Source:
        """Where a question about people reads from now on: the lake, with the deletes that are not drained yet."""
        undrained = await self.with_refusals(self.store.undrained_deletes())
        if self.history.redis_lake is None:  # the totals are asked for before it is looked for
            await self.learn_lake()
        return Source(self.settings.lake_root, undrained, self.history.redis_lake)

    async def learn_lake(self) -> None:
        """Learns which lake Redis belongs to: the door to another one stays closed. Raises `Unavailable`."""
        self.history.redis_lake = await self.with_refusals(self.store.noted_lake())

    async def want_rebuild_of(self, ids: Sequence[str]) -> None:
        """Asks for a rebuild of ids whose bases lack something, each at most once in `REBUILD_WANTED_S`.

        An answer stands without it, and the next one asks again. So what keeps Redis from noting it is no error.
        """
        now_s, wanted_s = time.monotonic(), self._rebuild_wanted_s
        wanted = [id for id in ids if now_s - wanted_s.get(id, -REBUILD_WANTED_S) >= REBUILD_WANTED_S]
        if wanted:
            if len(wanted_s) > WANTED_IDS_MAX:
                wanted_s.clear()
            wanted_s.update(dict.fromkeys(wanted, now_s))
            with suppress(Refusal):
                await self.with_refusals(self.store.want_rebuild_of(wanted))

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def require(self, authorization: str | None, other: str | None, needed: Permission) -> Caller:
        """The caller of a request, by the header `Authorization` or else by a key in another place.

        Raises as `admit` does.
        """
        return await self.admit(sent_key(authorization, other), needed)

    async def admit(self, sent: Iterable[str], needed: Permission) -> Caller:
        """The caller of the first known key of those sent, which must be of a kind that has the permission.

        Raises `Unauthenticated` without a known key, `Unavailable` while nobody can tell whether a key is known,
        `Forbidden` for a key of another kind, `TooMany` for one that asks too often.
        """
        return self.keys.admit(await self.caller(sent), needed)

    async def caller(self, sent: Iterable[str]) -> Caller | None:
        """The caller of the first known key of those sent; None without one.

        A key that this process does not know may be one that another process made since it looked last, so Redis is
        asked before it is called unknown. Raises `Unavailable` while Redis is away or lacks keys.
        """
        unknown: list[str] = []
        for key in sent:
            caller = self.keys.caller(key)
            if caller is not None:
                return caller
            unknown.append(key)
        if unknown:
            await self._seek_keys()
            for key in unknown:
                caller = self.keys.caller(key)
                if caller is not None:
                    return caller
            self.keys.refuse_until_all_are_known()
        return None

    async def tagged_key(self, tag: str) -> Tagged | None:
        """The key that has this tag now; None without one. Asks Redis as `caller` does."""
        key = self.keys.tagged(tag)
        if key is None:
            await self._seek_keys()
            key = self.keys.tagged(tag)
            if key is None:
                self.keys.refuse_until_all_are_known()
        return key

    async def _seek_keys(self) -> None:
        """Learns of keys by a look that begins from now on, one for all who wait for it, every `KEYS_SOUGHT_S`."""
        await self.keys_sought.of(self.learn_keys)

    async def learn_keys(self) -> None:
        """Learns once of the keys that any process made or revoked. Raises `Unavailable` while Redis is away."""
        texts = await self.with_refusals(self.store.api_keys())
        revoked = {} if texts.are_all else await self.with_refusals(self.store.revoked_api_keys())
        made_keys.learn(self.keys, texts, revoked)

    async def follow_keys(self) -> None:
        """Learns of keys, and notes which were used (`app` calls it again and again)."""
        await self.learn_keys()
        used = self.keys.take_used()
        if used:
            await self.with_refusals(self.store.note_used(dict.fromkeys(used, self.clock_ms())))

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def clock_ms(self) -> int:
        """Redis' clock, UTC: as of the last look, and what passed since. This machine's own before the first look.

        Decisions and rebuilds are as of Redis' clock, and so must be what is asked of the lake, and how far a client's
        clock is off. The clock of this machine may be hours off, or step.
        """
        if self._clock_ahead_ms is None:
            return time.time_ns() // 1_000_000
        return time.monotonic_ns() // 1_000_000 + self._clock_ahead_ms

    async def learn_clock(self) -> None:
        """Looks at Redis' clock. A look that took too long to tell the time stands for nothing, unless it is the first.

        Raises `Unavailable` while Redis is away.
        """
        before_ms = time.monotonic_ns() // 1_000_000
        clock_ms = await self.with_refusals(self.store.now_ms())
        took_ms = time.monotonic_ns() // 1_000_000 - before_ms
        if took_ms < CLOCK_LOOK_MS_MAX or self._clock_ahead_ms is None:
            self._clock_ahead_ms = clock_ms - before_ms - took_ms // 2

    async def with_refusals(self, answer: Awaitable[T]) -> T:
        """The answer of the store; instead of its errors, refusals that say when to try again.

        `ProjectionOutdated` is raised as it is: `ingest` mends that.
        """
        try:
            return await answer
        except ProjectionOutdated:
            raise
        except StoreError as error:
            raise refusal_of(error) from error


def _outdated() -> Unavailable:
    return Unavailable(NOT_UNDERSTOOD, {"remedy": "update this process"}, RETRY_AFTER_S)


def refusal_of(error: StoreError) -> Refusal:
    """The refusal for a Redis that does not answer, is not ready, has no room, or refuses a command."""
    if isinstance(error, ShardNotReady):
        return Unavailable(f"{error}", {"remedy": "try again"}, RETRY_AFTER_S)
    if isinstance(error, StoreFull):
        return TooMany(f"{error}", {"remedy": "try again"}, FULL_RETRY_AFTER_S)
    away = Unavailable("Redis is away", {"remedy": "try again"}, RETRY_AFTER_S)
    if isinstance(error, (StoreUnreachable, ServerReplaced)):
        away.why = str(error)
    else:
        log.error("refused_by_redis", exc_info=error)
        away.why = type(error).__name__
    return away


def _refusals(events: Sequence[Accepted], catalogue: Catalogue) -> dict[int, Invalid]:
    """The events, by their place, that a catalogue refuses though an older one did not."""
    refusals: dict[int, Invalid] = {}
    limits = Limits(catalogue.summed)
    for place, event in enumerate(events):
        try:
            if event.name is not None:
                check_summed(event.name, event.properties, limits)
        except Invalid as refusal:
            refusals[place] = refusal
    return refusals
