"""`GET /metrics`: metrics of the API at one address and of the system behind it, for Prometheus.

Counters are those of all processes of the address since it began, whichever of them answers (`serving.siblings`): an
API at several addresses is scraped at each of them. Gauges are the system's, asked of Redis at each scrape. While Redis
is away they are left out and `tinycdp_redis_up` is 0, so that an alert on absence is an alert on Redis. Nothing here
names a person, a key or an event.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from serving.access.keys import key_in_query
from serving.api.permissions import permission
from serving.api.redis_state import PARTS, RedisState, redis_state
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.http.tally import Spread, Tally, sum_of
from serving.lookout import Seen
from serving.refusals import Refusal
from serving.siblings import Counted, Siblings
from serving.store.errors import StoreError
from serving.store.operations.rebuild_requests import Waiting
from serving.streams.changes import ChangeStreams

router = APIRouter(tags=["health"])

#: Addresses of callers on this machine, and headers by which a proxy on it says that it speaks for others.
LOOPBACK = ("127.0.0.1", "::1")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class System(NamedTuple):
    """The system at a scrape. `undrained_ms` is when the oldest event was received that the lake lacks; None: none."""

    redis: RedisState
    waiting: Waiting
    catalogue: Catalogue | None
    horizon_ms: int
    undrained_ms: int | None


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format, for an admin's or a viewer's key.

    With TINYCDP_METRICS_OPEN a caller on this machine needs no key.
    """
    engine: Engine = request.app.state.engine
    if not (engine.settings.metrics_open and _is_local(request)):
        in_query = key_in_query(request.scope["query_string"])
        await engine.require(request.headers.get("authorization"), in_query, permission("GET", "/metrics"))
    system, lake = await asyncio.gather(_system(engine), engine.lake_seen.seen())
    siblings: Siblings = request.app.state.siblings
    of_each = siblings.counted(counted(request.app))
    registry = CollectorRegistry()
    registry.register(_Collected(of_machine(of_each, siblings.is_alone)))
    registry.register(_Collected([*of_processes(of_each.values()), *of_system(system), *of_lake(lake)]))
    return Response(generate_latest(registry), 200, None, CONTENT_TYPE_LATEST)


def counted(app: FastAPI) -> Counted:
    """What this process counted since it began, and its change streams."""
    streams: ChangeStreams = app.state.streams
    return Counted(os.getpid(), app.state.tally, streams.listeners.count, streams.listeners.streams_max)


def _is_local(request: Request) -> bool:
    is_forwarded = any(name in request.headers for name in FORWARDED)
    return request.client is not None and request.client.host in LOOPBACK and not is_forwarded


async def _system(engine: Engine) -> System | None:
    try:
        redis, waiting = await asyncio.gather(redis_state(engine), engine.store.waiting())
        catalogue = None
        if redis.catalogue_version is not None:
            catalogue = await engine.at_least(redis.catalogue_version)
        undrained_ms = await engine.store.ask(engine.store.operations.undrained_ms(redis.shards))
    except (StoreError, Refusal):
        return None
    return System(redis, waiting, catalogue, engine.settings.horizon_ms, undrained_ms)


class _Collected:
    """A collector of metrics that are there already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = list(metrics)

    def collect(self) -> list[Metric]:
        return self.metrics


# ── the processes of this address ────────────────────────────────────────────────────────────────────────────────


def of_machine(of_each: Mapping[int, Counted], is_alone: bool) -> Iterator[Metric]:
    """Memory, processor time and open files of each process: by its number, where there are several."""
    names = () if is_alone else ("process",)
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for number, counted in of_each.items():
        for found in ProcessCollector("tinycdp", lambda pid=counted.pid: pid, registry=None).collect():  # type: ignore[misc]
            make = CounterMetricFamily if found.type == "counter" else GaugeMetricFamily
            family = families.setdefault(found.name, make(found.name, found.documentation, labels=names))
            family.add_metric((str(number),) if names else (), found.samples[0].value)
    yield from families.values()


def of_processes(of_each: Iterable[Counted]) -> Iterator[Metric]:
    """Metrics of all processes together: what they counted, and their change streams."""
    of_each = list(of_each)
    yield from of_tally(sum_of(counted.tally for counted in of_each))
    yield _gauge("tinycdp_streams_open", "Change streams that are open.", sum(one.streams_open for one in of_each))
    yield _gauge("tinycdp_streams_max", "Change streams that may be open.", sum(one.streams_max for one in of_each))


def of_tally(tally: Tally) -> Iterator[Metric]:
    """Metrics of what was counted: requests, events, decisions, and tails that were read."""
    requests = CounterMetricFamily(
        "tinycdp_requests", "Requests answered, by path template.", labels=("method", "path", "status")
    )
    seconds = HistogramMetricFamily(
        "tinycdp_request_seconds", "Time from a request to the end of its answer.", labels=("method", "path")
    )
    for (method, path), answered in tally.requests.items():
        for status, count in answered.statuses.items():
            requests.add_metric((method, path, str(status)), count)
        seconds.add_metric((method, path), buckets(answered.seconds), answered.seconds.total)
    yield requests
    yield seconds
    yield _counter("tinycdp_events_accepted", "Events taken and synced, repeats not counted.", tally.accepted)
    yield _counter("tinycdp_events_duplicate", "Repeats of events, acknowledged and not counted.", tally.duplicates)
    yield _counter("tinycdp_events_rejected", "Events refused as invalid, and kept with the reason.", tally.rejected)
    decisions = CounterMetricFamily("tinycdp_decisions", "Flags decided, by reason.", labels=("reason",))
    for reason, count in tally.reasons.items():
        decisions.add_metric((reason,), count)
    yield decisions
    tails = HistogramMetricFamily(
        "tinycdp_read_tail_entries", "Events beyond the base, of each record read for a decision."
    )
    tails.add_metric((), buckets(tally.tails), tally.tails.total)
    yield tails


def buckets(spread: Spread) -> list[tuple[str, float]]:
    """By bound how many values are at most that, as Prometheus wants them."""
    bounds = [*(str(float(bound)) for bound in spread.bounds), "+Inf"]
    return list(zip(bounds, accumulate(spread.counts), strict=True))


# ── the system ───────────────────────────────────────────────────────────────────────────────────────────────────


def of_lake(seen: Seen) -> Iterator[Metric]:
    """Metrics of the last look at the lake."""
    yield _gauge("tinycdp_lake_up", "Whether the lake's table of events can be read.", seen.error is None)
    yield _gauge("tinycdp_lake_look_seconds", "How long the last look at the lake took.", seen.latency_ms / 1000)


def of_system(system: System | None) -> Iterator[Metric]:
    """Metrics of the system as Redis has it. While Redis is away they are one: that it is."""
    yield _gauge("tinycdp_redis_up", "Whether Redis answers.", system is not None)
    if system is None:
        return
    redis = system.redis
    yield _gauge("tinycdp_redis_look_seconds", "How long Redis took to say all this.", redis.latency_ms / 1000)
    yield _gauge("tinycdp_redis_memory_bytes", "Memory that Redis uses.", redis.server.memory_used)
    yield _gauge("tinycdp_redis_memory_max_bytes", "Memory that Redis may use; 0: no bound.", redis.server.memory_max)
    yield from _of_shards(redis)
    oldest_ms = redis.server.clock_ms if system.undrained_ms is None else system.undrained_ms
    yield _gauge(
        "tinycdp_lake_lag_seconds",
        "Since when the oldest event waits that is not in the lake yet; 0: none does.",
        max(0, redis.server.clock_ms - oldest_ms) / 1000,
    )
    yield from _of_parts(redis)
    if system.catalogue is not None:
        yield from _of_definitions(system, system.catalogue)
    waiting = system.waiting
    yield _gauge("tinycdp_rebuilds_waiting", "Full rebuilds asked for and not done yet.", waiting.rebuilds)
    yield _gauge("tinycdp_rebuild_ids_waiting", "Ids of which a rebuild of their own is asked for.", waiting.ids)
    yield _gauge("tinycdp_rejected_waiting", "Refused events that the drain has yet to store.", waiting.rejected)
    unwritten = redis.unwritten.waiting
    yield _gauge(
        "tinycdp_definitions_unwritten", "Versions of definitions that wait for the lake's history.", unwritten
    )
    if waiting.parity is not None:
        yield from _of_parity(redis, msgspec.json.decode(waiting.parity))


def _of_shards(redis: RedisState) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "tinycdp_lake_lag_seq", "Events of a shard that are not in the lake yet.", labels=("shard",)
    )
    entries = GaugeMetricFamily("tinycdp_log_entries", "Entries in the log of a shard.", labels=("shard",))
    last = GaugeMetricFamily("tinycdp_log_seq", "The seq of the last event of a shard.", labels=("shard",))
    for state in redis.shards:
        name = (str(state.shard),)
        lag.add_metric(name, max(state.seq - state.drained, 0))
        entries.add_metric(name, state.entries)
        last.add_metric(name, state.seq)
    yield from (lag, entries, last)
    recovering = sum(state.ready_run_id != redis.server.run_id for state in redis.shards)
    clock_ms = redis.server.clock_ms
    ahead_ms = max((max(state.last_received_ms, state.ahead_ms) - clock_ms for state in redis.shards), default=0)
    yield _gauge(
        "tinycdp_clock_ahead_seconds", "How far receipts are ahead of Redis' clock; 0: not.", max(0, ahead_ms) / 1000
    )
    yield _gauge("tinycdp_shards_recovering", "Shards that take no events until they are recovered.", recovering)


def _of_parts(redis: RedisState) -> Iterator[Metric]:
    up = GaugeMetricFamily("tinycdp_part_up", "Whether a part has spoken lately, and of no error.", labels=("part",))
    beats: dict[str, Any] = {part: msgspec.json.decode(redis.heartbeats[part] or b"{}") for part in PARTS}
    for part in PARTS:
        up.add_metric((part,), redis.heartbeats[part] is not None and "error" not in beats[part])
    yield up
    stopped = len(beats["drain"].get("stopped", {}))
    yield _gauge("tinycdp_shards_stopped", "Shards whose log contradicts the lake, so that the drain stands.", stopped)
    refused = beats["worker"].get("refused")
    if refused is not None:
        counter = CounterMetricFamily(
            "tinycdp_publishes_refused", "Bases that records refused, by the worker that runs.", labels=("because",)
        )
        for because, count in refused.items():
            counter.add_metric((because,), count)
        yield counter
    last = beats["worker"].get("last_build")
    if last is not None:
        yield _gauge("tinycdp_last_rebuild_seconds", "How long the worker's last rebuild took.", last["seconds"])
        yield _gauge("tinycdp_last_rebuild_events", "Events that the worker's last rebuild counted.", last["events"])
        yield _gauge("tinycdp_last_rebuild_users", "Ids that the worker's last rebuild published.", last["users"])


def _of_definitions(system: System, catalogue: Catalogue) -> Iterator[Metric]:
    now_ms = system.redis.server.clock_ms
    count = GaugeMetricFamily("tinycdp_definitions", "Definitions that are in force.", labels=("kind",))
    for kind in ("trait", "segment", "flag"):
        count.add_metric((kind,), sum(key[0] == kind for key in catalogue.definitions))
    yield count
    warming = sum(
        any(not catalogue.is_ready(key, shard, covered) for shard, covered in enumerate(catalogue.covered))
        for key in catalogue.definitions
    )
    yield _gauge("tinycdp_definitions_warming", "Definitions that wait for a rebuild to be complete.", warming)
    aligned = [covered.as_of_ms for covered in catalogue.covered if covered is not None and covered.as_of_ms]
    if aligned:
        oldest_ms = min(aligned)
        yield _gauge(
            "tinycdp_last_full_rebuild_age_seconds",
            "Time since the instant that the last full rebuild is of.",
            (now_ms - oldest_ms) / 1000,
        )
        yield _gauge(
            "tinycdp_horizon_left_seconds",
            "Time until values of heavy ids stop being exact without a rebuild.",
            (oldest_ms + system.horizon_ms - now_ms) / 1000,
        )


def _of_parity(redis: RedisState, parity: dict[str, int]) -> Iterator[Metric]:
    yield _gauge("tinycdp_parity_compared", "Live answers that the last `doctor` compared.", parity["compared"])
    yield _gauge("tinycdp_parity_mismatches", "Those of them that were not the lake's: must be 0.", parity["differing"])
    age_s = (redis.server.clock_ms - parity["at"]) / 1000
    yield _gauge("tinycdp_parity_age_seconds", "Time since the last `doctor`.", age_s)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value)


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(name, help, value)
