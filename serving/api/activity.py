"""Activity over HTTP: what API processes did over the last two days, what flags answered over the last 90, and how many
people rebuilds counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from serving import activity
from serving.activity import DAY_MS, DAYS_KEPT, MINUTE_MS, MINUTES_KEPT, STALE_DAYS, Done, FlagActivity, Latency, Work
from serving.api.dependencies import EngineOf, require_admin
from serving.api.events import PATHS
from serving.api.periods import From, To, period_of
from serving.api.wire.activity import ActivityOut, FlagsActivityOut, PeopleOverTimeOut
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.http.answers import json_answer
from serving.store.store import Store
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin/activity", dependencies=[Depends(require_admin)], tags=["admin"])

#: The period of an answer, if not said otherwise.
HOUR_MS, MONTH_DAYS = 3_600_000, 30
#: Rebuilds of one answer, if not said otherwise and at most.
POINTS, POINTS_MAX = 100, 1_000


def work_of(template: str) -> Work | None:
    """What requests of a path template are for, as far as activity counts them."""
    if template in PATHS:
        return "ingest"
    return "decide" if template.startswith(("/v1/decide", "/ofrep/")) else None


# ── by the minute ────────────────────────────────────────────────────────────────────────────────────────────────


@router.get("", responses={200: {"model": ActivityOut}})
async def over_time(
    engine: EngineOf,
    since: From = None,
    until: To = None,
    step: Annotated[int, Query(ge=1, le=24 * 60, description="minutes of each point")] = 1,
) -> Response:
    """Events, decisions and latencies of all API processes, by minutes of the last 48 hours; of the last hour, if not
    said otherwise. The last ten seconds may be lacking.
    """
    now_ms = engine.clock_ms()
    since_ms, until_ms = period_of(since, until, HOUR_MS, now_ms)
    newest = now_ms // MINUTE_MS
    first = max(since_ms // MINUTE_MS, newest - MINUTES_KEPT + 1)
    after = min(-(-until_ms // MINUTE_MS), newest + 1)
    body = await _from_redis(engine, lambda store: _minutes(store, range(first, max(first, after)), step))
    return json_answer(body)


def _minutes(store: Store, minutes: range, step: int) -> dict[str, Any]:
    numbers = store.activity_minutes(minutes)
    return {
        "since": _instant(store.activity_since_ms()),
        "step": step,
        "points": [_done(done) for done in activity.over_time(numbers, minutes.start, step)],
        "total": _done(activity.summed(numbers, minutes.start * MINUTE_MS)),
    }


def _done(done: Done) -> dict[str, Any]:
    return {
        "at": rfc3339(done.at_ms),
        "events": done.events,
        "decisions": done.decisions,
        "decide": _latency(done.decide),
        "ingest": _latency(done.ingest),
    }


def _latency(latency: Latency) -> dict[str, Any]:
    return {"count": latency.count, "p50": latency.p50, "p95": latency.p95, "p99": latency.p99}


# ── by the day ───────────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/flags", responses={200: {"model": FlagsActivityOut}})
async def of_flags(engine: EngineOf, since: From = None, until: To = None) -> Response:
    """The answers of each flag by day (UTC), by variant, and by name apart from in bulk; of the last 30 days, if not
    said otherwise. Only answers to apps count, which have read and profile keys: people, who try a flag out with a
    viewer's or an admin key, do not make it look used.
    """
    now_ms = engine.clock_ms()
    since_ms, until_ms = period_of(since, until, MONTH_DAYS * DAY_MS, now_ms)
    shown = range(since_ms // DAY_MS, -(-until_ms // DAY_MS))
    catalogue = await engine.current()
    return json_answer(await _from_redis(engine, lambda store: _flags(store, catalogue, shown, now_ms)))


def _flags(store: Store, catalogue: Catalogue, shown: range, now_ms: int) -> dict[str, Any]:
    today = now_ms // DAY_MS
    days = range(today - DAYS_KEPT + 1, today + 1)
    of_flag = activity.of_flags(dict(zip(days, store.activity_days(days), strict=True)), shown)
    since_ms = store.activity_since_ms()
    needed = {needed.flag for flag in catalogue.flags.values() for needed in flag.prerequisites}
    flags = []
    for definition in catalogue.of_kind("flag"):
        key = definition.key
        found = of_flag.get(key, activity.NO_ACTIVITY)
        stale = activity.is_stale(found, definition.updated_ms, since_ms, key in needed, now_ms)
        flags.append({"key": key, **_flag(found), "stale": stale})
    return {"since": _instant(since_ms), "staleAfterDays": STALE_DAYS, "flags": flags}


def _flag(found: FlagActivity) -> dict[str, Any]:
    by_variant = found.by_variant()
    total = sum(answers.total for answers in by_variant.values())
    return {
        "byName": sum(answers.by_name for answers in by_variant.values()),
        "inBulk": sum(answers.in_bulk for answers in by_variant.values()),
        "variants": [
            {
                "variant": variant,
                "byName": answers.by_name,
                "inBulk": answers.in_bulk,
                "share": round(answers.total / total, 6),
            }
            for variant, answers in by_variant.items()
        ],
        "days": [
            {
                "day": rfc3339(day * DAY_MS)[:10],
                "byName": sum(answers.by_name for answers in of_day.values()),
                "inBulk": sum(answers.in_bulk for answers in of_day.values()),
                "variants": {variant: answers.total for variant, answers in sorted(of_day.items())},
            }
            for day, of_day in sorted(found.days.items())
        ],
        "lastAsked": _instant(found.last_asked_ms),
    }


# ── by the rebuild ───────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/segments", responses={200: {"model": PeopleOverTimeOut}})
async def people_over_time(
    engine: EngineOf,
    since: From = None,
    until: To = None,
    points: Annotated[int, Query(ge=1, le=POINTS_MAX, description="rebuilds at most, evenly over the time")] = POINTS,
) -> Response:
    """How many people there were, in each segment and with each trait, as full rebuilds counted them; over the last 90
    days, if not said otherwise. They are kept in the lake.
    """
    since_ms, until_ms = period_of(since, until, DAYS_KEPT * DAY_MS, engine.clock_ms())

    def read() -> list[dict[str, Any]]:
        counted = engine.history.people_over_time(since_ms, until_ms, points)
        return [{"at": rfc3339(as_of_ms), **numbers} for as_of_ms, numbers in counted]

    return json_answer({"points": await to_thread.run_sync(read)})


async def _from_redis(engine: Engine, read: Callable[[Store], dict[str, Any]]) -> dict[str, Any]:
    """An answer that is read and made in a thread, since it may be thousands of numbers."""
    body: dict[str, Any] = await engine.with_refusals(to_thread.run_sync(read, engine.admin_store))
    return body


def _instant(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
