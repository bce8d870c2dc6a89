"""`GET /v1/admin/metrics`: how much there is, without a scan of the lake.

A full rebuild reads every event anyway. It counts people, events, values and memberships as of its instant, and leaves
the numbers in Redis. A small lake is counted afresh, in a process beside the API. Row counts of tables come from the
tables' own logs. All of it is asked for at most once in `serving.engine.SIZES_GOOD_S`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, Depends

from expressions.definitions import DefinitionKind
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire.totals import SystemMetrics, SystemMetricsOut
from serving.definitions.catalogue import Catalogue
from serving.engine import Engine
from serving.lookups.totals import sizes
from serving.lookups.worker import in_worker
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["admin"])

#: A lake of no more rows is counted afresh; a larger one is counted by rebuilds alone.
FRESH_ROWS_MAX = 200_000
#: Traits and segments with the most users that are named.
TOP = 10

#: The numbers before the first full rebuild.
NOTHING: dict[str, Any] = {
    "users": 0,
    "active": {"day": 0, "week": 0, "month": 0},
    "events": 0,
    "recent": {"day": 0, "week": 0, "month": 0},
    "names": [],
    "ids": 0,
    "as_of": None,
    "traits": {},
    "segments": {},
}


@router.get("/metrics")
async def system_metrics(engine: EngineOf) -> SystemMetricsOut:
    """How many users, events, values and memberships there are, and when that was counted: `asof`, `computedAsof`."""
    metrics = await engine.sizes.of(lambda: _metrics(engine))
    return SystemMetricsOut(timestamp=rfc3339(engine.clock_ms()), metrics=SystemMetrics.model_validate(metrics))


async def _metrics(engine: Engine) -> dict[str, Any]:
    catalogue = await engine.current()
    text, keys = await engine.with_refusals(engine.store.totals())
    counted = NOTHING if text is None else msgspec.json.decode(text)
    size = await in_worker(sizes, await engine.source(), engine.clock_ms(), FRESH_ROWS_MAX)
    fresh = counted | size["fresh"] if size["fresh"] is not None else counted
    return wire_metrics(catalogue, counted, fresh, size, len(engine.keys.configured) + keys)


def wire_metrics(
    catalogue: Catalogue, counted: Mapping[str, Any], fresh: Mapping[str, Any], size: Mapping[str, Any], keys: int
) -> dict[str, Any]:
    """The numbers in the shape of `SystemMetrics`: values and memberships of `counted`, people and events of `fresh`.

    `size` is the answer of `serving.lookups.totals.sizes`; `keys` is how many API keys there are.
    """

    def definitions(kind: DefinitionKind) -> int:
        return len(catalogue.of_kind(kind))

    def top(kind: DefinitionKind) -> list[dict[str, Any]]:
        by_key = counted[f"{kind}s"].items()
        known = [(key, users) for key, users in by_key if users and (kind, key) in catalogue.definitions]
        known.sort(key=lambda item: (-item[1], item[0]))
        return [{"key": key, "userCount": users} for key, users in known[:TOP]]

    tables = {
        "api_keys": keys,
        "events": size["rows"]["events"],
        "flags": definitions("flag"),
        "segment_defs": definitions("segment"),
        "trait_defs": definitions("trait"),
        "user_aliases": fresh["ids"],
        "user_segments": size["rows"]["memberships"],
        "user_traits": size["rows"]["traits"],
        "users": fresh["users"],
    }
    return {
        "asof": _instant(fresh["as_of"]),
        "computedAsof": _instant(counted["as_of"]),
        "users": {"total": fresh["users"], **_by_span("activeLast", fresh["active"])},
        "events": {
            "total": fresh["events"],
            **_by_span("last", fresh["recent"]),
            "topEventTypes": [{"name": name, "count": count} for name, count in fresh["names"]],
        },
        "traits": {
            "definitionCount": definitions("trait"),
            "computedCount": sum(counted["traits"].values()),
            "topTraits": top("trait"),
        },
        "segments": {
            "definitionCount": definitions("segment"),
            "computedCount": sum(counted["segments"].values()),
            "topSegments": top("segment"),
        },
        "flags": {"definitionCount": definitions("flag")},
        "database": {
            "size": size["bytes"],
            "tables": [{"name": name, "rowCount": rows} for name, rows in sorted(tables.items())],
        },
    }


def _by_span(prefix: str, counts: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix}{span.title()}": count for span, count in counts.items()}


def _instant(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)
