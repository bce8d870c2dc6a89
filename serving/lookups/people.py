"""Questions about people: who there is, and what the lake has of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import polars as pl

from expressions.bases import RawEvent, base_of
from expressions.batch.counting import counted
from expressions.plan import COUNTED_KINDS
from expressions.rules.deletes import after_deletes, of_ids
from expressions.rules.identity import LINK_KINDS, persons, with_person
from expressions.rules.windows import DAY_MS
from serving.history import History, Source
from serving.ids import ID_KINDS, raw_id
from serving.lookups.person_rows import rows_of, sent_with
from serving.times import rfc3339

RECENT_EVENTS = 50
#: The kinds of ids in the wire's words.
ALIAS_KINDS = {"user": "externalId", "anon": "deviceId", "email": "emailHash"}

#: One column of some events: JSON by id, event id and receipt, which tell the copies of an event apart.
Texts: TypeAlias = dict[tuple[str, str, int], str]


# ── all people ───────────────────────────────────────────────────────────────────────────────────────────────────


def search(source: Source, text: str, limit: int, offset: int) -> dict[str, Any]:
    """A page of people with an id that contains the text, whatever its case, the newest first; and how many there are.

    A text with a kind before it, `user:ad`, is the beginning of an id of that kind.
    """
    lake = source.history()
    version = lake.events_version()
    events = after_deletes(lake.events(version).select("id", "kind", "seq", "ts", "received_at", "event_id", "name"))
    linked = persons(events)
    firsts = with_person(_firsts(events, linked, text.lower()).lazy(), linked).collect()
    newest = (
        firsts.group_by("person")
        .agg(pl.col("ts").min().alias("created_at"))
        .sort("created_at", "person", descending=[True, False])
    )
    page = newest.slice(offset, limit)
    ids: dict[str, list[str]] = {person: [] for person in page["person"]}
    on_page = firsts.filter(pl.col("person").is_in(page["person"].implode())).select("id", "person")
    for id, person in on_page.iter_rows():
        ids[person].append(id)
    seen = _seen(lake, version, ids)
    segments = _segments(lake, page["person"])
    users = [
        {
            "id": person,
            "created_at": rfc3339(created_ms),
            "aliases": aliases(sorted(ids[person], key=lambda id: (id != person, id))),
            "lastEventTime": rfc3339(seen[person][0]) if person in seen else None,
            "eventCount": seen[person][1] if person in seen else 0,
            "activeSegments": segments.get(person, []),
        }
        for person, created_ms in page.iter_rows()
    ]
    return {"users": users, "total": len(newest), "hasMore": offset + limit < len(newest)}


def _firsts(events: pl.LazyFrame, linked: pl.DataFrame, text: str) -> pl.DataFrame:
    """id and ts, of its first row, of every id of the people with an id that contains a text in small letters."""
    found = _first_rows(events.filter(_may_match(text)) if text else events)
    if not text:
        return found
    found = found.filter(_matches(text))
    # Whoever is found by one of their ids is shown whole: since the first event of any.
    people = with_person(found.lazy(), linked).select(pl.col("person").unique()).collect()["person"]
    whole = pl.concat([people, linked.filter(pl.col("person").is_in(people.implode()))["id"]])
    others = whole.filter(~whole.is_in(found["id"].implode()))
    if others.is_empty():
        return found
    return pl.concat([found, _first_rows(events.filter(pl.col("id").is_in(others.implode())))])


def _first_rows(events: pl.LazyFrame) -> pl.DataFrame:
    return events.group_by("id").agg(pl.col("ts").min()).collect(engine="streaming")


#: The letters beyond ASCII whose small letters have one of ASCII in them: of the others no text in ASCII is found.
TO_ASCII = ("\u0130", "\u212a")


def _may_match(text: str) -> pl.Expr:
    """Whether an id may match, which costs a fraction of `_matches`: true of every id that does, and of few others."""
    if not text.isascii():
        return _matches(text)
    return pl.col("id").str.contains_any([text, *TO_ASCII], ascii_case_insensitive=True)


def _matches(text: str) -> pl.Expr:
    id = pl.col("id").str.to_lowercase()
    contains = id.str.splitn(":", 2).struct.field("field_1").str.contains(text, literal=True)
    if text.startswith(tuple(f"{kind}:" for kind in ID_KINDS)):
        return contains | id.str.starts_with(text)
    return contains


def _seen(lake: History, version: int, ids: Mapping[str, list[str]]) -> dict[str, tuple[int, int]]:
    """By person the time of their last event and how many they have; people without events are left out."""
    person_of = {id: person for person, own in ids.items() for id in own}
    if not person_of:
        return {}
    rows = counted(of_ids(lake.events(version).drop("props"), list(person_of))).filter(
        pl.col("kind").is_in(sorted(COUNTED_KINDS))
    )
    person = pl.col("id").replace_strict(person_of, return_dtype=pl.String)
    by_person = rows.group_by(person).agg(pl.col("ts").max(), pl.len()).collect()
    return {id: (last_ms, count) for id, last_ms, count in by_person.iter_rows()}


def _segments(lake: History, people: pl.Series) -> dict[str, list[str]]:
    """By person the keys of their segments, sorted."""
    memberships = lake.memberships(people.to_list()).select("id", "key").sort("key")
    segments: dict[str, list[str]] = {}
    for id, key in memberships.collect().iter_rows():
        segments.setdefault(id, []).append(key)
    return segments


# ── one person ───────────────────────────────────────────────────────────────────────────────────────────────────


#: What the lake has of somebody whose first events are not drained yet.
NOTHING: dict[str, Any] = {
    "attributes": {},
    "recentEvents": [],
    "eventCounts": {"total": 0, "last_24h": 0, "last_7d": 0, "last_30d": 0},
}


def detail(source: Source, ids: list[str], shards: list[int], now_ms: int) -> dict[str, Any] | None:
    """What the lake has of a person's ids, which are in these shards: attributes, recent events, counts, and since when
    in which segment.

    None for a person without a row.
    """
    lake = source.history()
    rows = counted(rows_of(lake, ids, shards).lazy()).sort("ts", descending=True).collect()
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
                "props": msgspec.json.decode(texts.get((id, event_id, received_at), "null")),
            }
            for id, event_id, received_at, ts, name in recent.select(
                "id", "event_id", "received_at", "ts", "name"
            ).iter_rows()
        ],
        "eventCounts": {
            "total": len(tracked),
            **{
                f"last_{name}": len(tracked.filter(pl.col("ts") > now_ms - days * DAY_MS))
                for name, days in (("24h", 1), ("7d", 7), ("30d", 30))
            },
        },
        "since": dict(lake.memberships(ids).select("key", "since").collect().iter_rows()),
    }


def data(source: Source, ids: list[str], shards: list[int], limit: int, offset: int) -> dict[str, Any]:
    """What the lake has of a person's ids, which are in these shards: attributes, and a page of all that came, the
    oldest first, as JSON: who asked hands it on, and a hundred thousand events would be taken apart twice."""
    lake = source.history()
    rows = counted(rows_of(lake, ids, shards).lazy()).filter(~pl.col("kind").is_in(LINK_KINDS)).collect()
    page = rows.sort("ts", "received_at", "event_id").slice(offset, limit)
    columns = {column: _texts(lake, page, column) for column in ("properties", "traits", "context")}
    identifies = rows.filter(pl.col("kind") == "identify")
    return {
        "attributes": _attributes(identifies, _texts(lake, identifies, "traits")),
        "events": msgspec.json.encode(
            [
                {
                    "id": id,
                    "kind": kind,
                    "eventId": event_id,
                    "ts": rfc3339(ts),
                    "received_at": rfc3339(received_at),
                    "name": name,
                    **{
                        column: msgspec.Raw(texts.get((id, event_id, received_at), "null").encode())
                        for column, texts in columns.items()
                    },
                }
                for id, kind, event_id, ts, received_at, name in page.select(
                    "id", "kind", "event_id", "ts", "received_at", "name"
                ).iter_rows()
            ]
        ),
        "total": len(rows),
        "hasMore": offset + limit < len(rows),
    }


def _attributes(identifies: pl.DataFrame, texts: Texts) -> dict[str, Any]:
    """The attributes that identifies left (S8). `texts` are the traits of each as they came."""
    profile = base_of(
        RawEvent("identify", None, ts, msgspec.json.decode(texts.get((id, event_id, received_at), "{}")))
        for id, event_id, received_at, ts in identifies.select("id", "event_id", "received_at", "ts").iter_rows()
    ).profile
    return {key: value for key, (_, value) in sorted(profile.items()) if value is not None}


def _texts(lake: History, rows: pl.DataFrame, column: str) -> Texts:
    """A column of some events as it came; events without a text are left out."""
    if rows.is_empty():
        return {}
    sent = sent_with(lake, rows, [column])
    return {(id, event_id, received_at): text for id, event_id, received_at, text in sent.iter_rows() if text}


def aliases(ids: list[str]) -> list[dict[str, str]]:
    """Namespaced ids in the wire's words: kind and value."""
    return [{"kind": ALIAS_KINDS[kind], "value": value} for kind, value in map(raw_id, ids)]
