"""Questions about people and about unsaved expressions, asked of the lake in a process of their own.

A query over millions of rows takes seconds of two cores; in the event loop's process it would take them from
decisions. So each function here takes and gives plain values, and `asked` runs it elsewhere, few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar

import msgspec
import polars as pl
from anyio import CapacityLimiter, to_process

from expressions.bases import RawEvent, base_of
from expressions.batch.base_frames import base_states
from expressions.batch.counting import counted, counted_for, distinct_ids
from expressions.batch.frames import answer_frame, column_of, users_where, value_of
from expressions.batch.totals import totals
from expressions.definitions import Definition, DefinitionKind
from expressions.plan import COUNTED_KINDS, plan
from expressions.rules.deletes import after_deletes, of_ids
from expressions.rules.identity import LINK_KINDS, people, persons, with_person
from expressions.rules.values import to_json
from expressions.rules.windows import DAY_MS
from expressions.text.bind import bind_one
from serving.definitions.catalogue import decode
from serving.history import AWAY, History, away
from serving.ids import ID_KINDS, raw_id
from serving.refusals import Unavailable
from serving.store import base_codec
from serving.times import rfc3339

P = ParamSpec("P")
T = TypeVar("T")

#: Questions of a kind at once; more wait. Each has the memory of a query of its own. Whoever looks at people does not
#: wait for an expression that is tried on all of them.
AT_ONCE = 1
RECENT_EVENTS = 50
#: Users that a cost is measured on, and how long their heavy bases would have to last.
COST_SAMPLE, HORIZON_MS = 200, 3_600_000
#: What an id of ours is called in answers, as the kinds of the wire.
ALIAS_KINDS = {"user": "externalId", "anon": "deviceId", "email": "emailHash"}

#: A text of each event, by what tells its copies apart.
Texts: TypeAlias = dict[tuple[str, str, int], str]

LOOKING, TRYING, WEIGHING = CapacityLimiter(AT_ONCE), CapacityLimiter(AT_ONCE), CapacityLimiter(AT_ONCE)


async def asked(question: Callable[P, T], *args: P.args, **_: P.kwargs) -> T:
    """The answer of one of the functions below. Raises `Unavailable` while the lake is away."""
    turns: dict[Callable[..., Any], CapacityLimiter] = {preview: TRYING, cost: WEIGHING}
    try:
        return await to_process.run_sync(question, *args, cancellable=True, limiter=turns.get(question, LOOKING))
    except (*AWAY, Unavailable) as error:  # a refusal loses its details on its way between processes
        raise away() from error


# ── unsaved expressions ──────────────────────────────────────────────────────────────────────────────────────────


def preview(
    lake_root: str, catalogue_text: bytes, kind: DefinitionKind, text: str, now_ms: int, sample: int
) -> dict[str, Any]:
    """For whom an expression holds (S4) at `now_ms`: how many of how many people, and some with their values."""
    catalogue = decode(catalogue_text)
    bound = bind_one(Definition(kind, "unsaved_expression", text), catalogue.bounds)
    events = people(counted_for(History(lake_root).events(), plan([bound.expr]), now_ms, catalogue.zone))
    answers = answer_frame(events, [bound], now_ms, catalogue.zone)
    key = (kind, "unsaved_expression")
    holding = users_where(answers, key)
    shown = holding.head(sample).join(answers, on="id", how="left").sort("id")
    return {
        "count": len(holding),
        "total": len(answers),
        "sample": [
            {"id": one, "value": bool(answer["boolean"]) if kind != "trait" else to_json(value_of(answer))}
            for one, answer in shown.select("id", column_of(key)).iter_rows()
        ],
        "asof": rfc3339(now_ms),
    }


def cost(lake_root: str, catalogue_text: bytes, kind: DefinitionKind, text: str, now_ms: int) -> float | None:
    """Bytes of Redis that an expression takes by itself, a user: the mean over some users of the lake.

    None where there are none yet. What other definitions keep already it does not take again.
    """
    catalogue = decode(catalogue_text)
    needed = plan([bind_one(Definition(kind, "unsaved_expression", text), catalogue.bounds).expr])
    events = History(lake_root).events()
    ids = distinct_ids(events.select("id"))["id"]
    some = ids.sample(min(len(ids), COST_SAMPLE), seed=0)
    rows = counted(of_ids(events, some.to_list()))
    sizes = [len(base_codec.encode(base)) for _, base, _ in base_states(rows, needed, now_ms, HORIZON_MS)]
    return round(sum(sizes) / len(some), 1) if len(some) else None


# ── the whole system ─────────────────────────────────────────────────────────────────────────────────────────────


def sizes(lake_root: str, now_ms: int, fresh_rows_max: int) -> dict[str, Any]:
    """Rows of each table and bytes of all, from the tables' own logs; and people and events, counted now (`fresh`).

    `fresh` is None where the lake has more than `fresh_rows_max` rows of events, which would take seconds.
    """
    lake = History(lake_root)
    found = lake.sizes()
    rows = {name: rows for name, (rows, _) in found.items()}
    fresh = None
    if rows["events"] <= fresh_rows_max:
        events = counted(lake.events()).collect()
        fresh = totals(people(events.lazy()), now_ms) | {"ids": events["id"].n_unique(), "as_of": now_ms}
    return {"rows": rows, "bytes": sum(size for _, size in found.values()), "fresh": fresh}


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────


def search(lake_root: str, text: str, limit: int, offset: int) -> dict[str, Any]:
    """People with an id that contains the text, whatever its case, the newest first: a page, and how many there are.

    A text with a kind before it, `user:ad`, is the beginning of an id of that kind.
    """
    lake = History(lake_root)
    version = lake.events_version()
    events = after_deletes(lake.events(version).select("id", "kind", "seq", "ts", "received_at", "event_id", "name"))
    known = persons(events)
    if text:
        meant = events.filter(_is_meant(text.lower())).select("id").unique()
        # Whoever is found by one of their ids is shown whole: since the first event of any.
        found = with_person(meant, known).select(pl.col("person").unique()).collect(engine="streaming")["person"]
        others = known.filter(pl.col("person").is_in(found.implode()))["id"]
        events = events.filter(pl.col("id").is_in(pl.concat([found, others]).implode()))
    firsts = with_person(events.group_by("id").agg(pl.col("ts").min()), known).collect(engine="streaming")
    newest = (
        firsts.group_by("person")
        .agg(pl.col("ts").min().alias("created_at"))
        .sort("created_at", "person", descending=[True, False])
    )
    page = newest.slice(offset, limit)
    ids: dict[str, list[str]] = {one: [] for one in page["person"]}
    for one, person in (
        firsts.filter(pl.col("person").is_in(page["person"].implode())).select("id", "person").iter_rows()
    ):
        ids[person].append(one)
    seen = _seen(lake, version, ids)
    segments = _segments(lake, page["person"])
    users = [
        {
            "id": one,
            "created_at": rfc3339(created),
            "aliases": aliases(sorted(ids[one], key=lambda raw: (raw != one, raw))),
            "lastEventTime": rfc3339(seen[one][0]) if one in seen else None,
            "eventCount": seen[one][1] if one in seen else 0,
            "activeSegments": segments.get(one, []),
        }
        for one, created in page.iter_rows()
    ]
    return {"users": users, "total": len(newest), "hasMore": offset + limit < len(newest)}


def _is_meant(text: str) -> pl.Expr:
    raw = pl.col("id").str.to_lowercase()
    contains = raw.str.splitn(":", 2).struct.field("field_1").str.contains(text, literal=True)
    if text.startswith(tuple(f"{kind}:" for kind in ID_KINDS)):
        return contains | raw.str.starts_with(text)
    return contains


def _seen(lake: History, version: int, ids: Mapping[str, list[str]]) -> dict[str, tuple[int, int]]:
    """When the last event of some people was, and how many there are; of those who have any."""
    owner = {raw: one for one, raws in ids.items() for raw in raws}
    if not owner:
        return {}
    rows = counted(of_ids(lake.events(version).drop("props"), list(owner))).filter(
        pl.col("kind").is_in(sorted(COUNTED_KINDS))
    )
    found = rows.group_by(pl.col("id").replace_strict(owner, return_dtype=pl.String)).agg(pl.col("ts").max(), pl.len())
    return {one: (last, count) for one, last, count in found.collect().iter_rows()}


def _segments(lake: History, people: pl.Series) -> dict[str, list[str]]:
    """The segments of each, by key."""
    inside = lake.memberships().filter(pl.col("id").is_in(people.implode())).select("id", "key").sort("key")
    found: dict[str, list[str]] = {}
    for one, key in inside.collect().iter_rows():
        found.setdefault(one, []).append(key)
    return found


#: What the lake has of somebody whose first events are not drained yet.
NOTHING: dict[str, Any] = {
    "attributes": {},
    "recentEvents": [],
    "eventCounts": {"total": 0, "last_24h": 0, "last_7d": 0, "last_30d": 0},
}


def history(lake_root: str, ids: list[str], now_ms: int) -> dict[str, Any] | None:
    """What the lake has of a person's records: attributes, recent events, counts, since when in which segment.

    None for a person without a row.
    """
    lake = History(lake_root)
    wanted = pl.col("id").is_in(ids)
    rows = counted(of_ids(lake.events(), ids)).sort("ts", descending=True).collect()
    if rows.is_empty():
        return None
    tracked = rows.filter(pl.col("kind").is_in(sorted(COUNTED_KINDS)))
    recent = tracked.head(RECENT_EVENTS)
    texts = _texts(lake, recent, "properties")
    identifies = rows.filter(pl.col("kind") == "identify")
    return {
        "created_at": rfc3339(int(rows["ts"].min())),  # type: ignore[arg-type]  # there is a row
        "attributes": _attributes(identifies, _texts(lake, identifies, "traits")),
        "recentEvents": [
            {
                "id": event_id,
                "ts": rfc3339(ts),
                "name": name,
                "props": msgspec.json.decode(texts.get((one, event_id, at), "null")),
            }
            for one, event_id, at, ts, name in recent.select("id", "event_id", "received_at", "ts", "name").iter_rows()
        ],
        "eventCounts": {
            "total": len(tracked),
            **{
                f"last_{name}": len(tracked.filter(pl.col("ts") > now_ms - days * DAY_MS))
                for name, days in (("24h", 1), ("7d", 7), ("30d", 30))
            },
        },
        "since": dict(lake.memberships().filter(wanted).select("key", "since").collect().iter_rows()),
    }


def data(lake_root: str, ids: list[str], limit: int, offset: int) -> dict[str, Any]:
    """What the lake has of a person: attributes, and a page of all that came, the oldest first."""
    lake = History(lake_root)
    rows = counted(of_ids(lake.events(), ids)).filter(~pl.col("kind").is_in(LINK_KINDS)).collect()
    page = rows.sort("ts", "received_at", "event_id").slice(offset, limit)
    texts = {column: _texts(lake, page, column) for column in ("properties", "traits", "context")}
    identifies = rows.filter(pl.col("kind") == "identify")
    return {
        "attributes": _attributes(identifies, _texts(lake, identifies, "traits")),
        "events": [
            {
                "id": one,
                "kind": kind,
                "eventId": event_id,
                "ts": rfc3339(ts),
                "received_at": rfc3339(received_at),
                "name": name,
                **{
                    column: msgspec.json.decode(said.get((one, event_id, received_at), "null"))
                    for column, said in texts.items()
                },
            }
            for one, kind, event_id, ts, received_at, name in page.select(
                "id", "kind", "event_id", "ts", "received_at", "name"
            ).iter_rows()
        ],
        "total": len(rows),
        "hasMore": offset + limit < len(rows),
    }


def _attributes(identifies: pl.DataFrame, said: Texts) -> dict[str, Any]:
    """The attributes that identifies left (S8), from what each said, as it came."""
    profile = base_of(
        RawEvent("identify", None, ts, msgspec.json.decode(said.get((one, event_id, at), "{}")))
        for one, event_id, at, ts in identifies.select("id", "event_id", "received_at", "ts").iter_rows()
    ).profile
    return {key: value for key, (_, value) in sorted(profile.items()) if value is not None}


def _texts(lake: History, rows: pl.DataFrame, column: str) -> Texts:
    """A column of some events as it came: JSON by id, event id and receipt."""
    wanted = pl.col("id").is_in(rows["id"].unique().implode()) & pl.col("event_id").is_in(rows["event_id"].implode())
    found = lake.sent().filter(wanted).select("id", "event_id", "received_at", column).collect()
    return {(one, event_id, at): text for one, event_id, at, text in found.iter_rows() if text}


def aliases(ids: list[str]) -> list[dict[str, str]]:
    """Ids of records as the wire names them."""
    return [{"kind": ALIAS_KINDS[kind], "value": value} for kind, value in map(raw_id, ids)]
