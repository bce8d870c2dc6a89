"""A person's events by time, the newest first, in pages that are exact while new ones come.

1. `undrained`    what the logs have of the person's ids beyond the lake: rows, as plain values
2. `timeline`     the lake's rows and these, each once, without what was deleted; of a period and a name; one page

Both are done in a process beside the API (`person_events`): a log may have thousands of entries to look at.

Each event has a place: its time, its receipt, its event id and the id that it came under, the greatest first. A page
begins behind the last place of the one before. So what comes meanwhile moves nothing, and an event has the same place
whether the lake has it yet or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import polars as pl

from expressions.batch.counting import counted
from expressions.rules.deletes import ACT_KINDS
from expressions.rules.identity import LINK_KINDS
from serving.history import History, Source
from serving.ids import shard_of
from serving.lookups.live_people import store_of
from serving.lookups.person_rows import COPY, rows_of, sent_with
from serving.refusals import Unavailable
from serving.store.errors import StoreError
from serving.store.logged_event import LogEntry
from serving.store.store import Store
from serving.times import rfc3339

#: Entries of a log that are read at once, and that are looked at for one answer, of each shard of the person.
LOG_AT_ONCE, LOOKED_AT_MAX = 500, 20_000

_encode = msgspec.json.Encoder().encode


class Place(NamedTuple):
    """Where an event stands among those of a person. Times are UTC ms."""

    ts: int
    received_at: int
    event_id: str
    id: str


class Undrained(NamedTuple):
    """An event that the lake may lack, by the columns of `lake.schemas.EVENTS` that a timeline reads."""

    shard: int
    seq: int
    event_id: str
    kind: str
    id: str
    name: str | None
    ts: int
    received_at: int
    properties: str | None
    traits: str | None
    context: str | None


def person_events(
    redis_url: str,
    shards: int,
    source: Source,
    ids: list[str],
    period: tuple[int | None, int | None],
    name: str | None,
    before: Place | None,
    limit: int,
) -> dict[str, Any]:
    """A page of the events of a person's ids, as `timeline` gives it; `complete`: whether all of them were looked at.

    Raises `Unavailable` while Redis or the lake is away.
    """
    try:
        late, is_complete = undrained(store_of(redis_url, shards), ids)  # first: the lake can only have more then
    except StoreError as error:
        raise Unavailable("Redis is away") from error
    in_shards = sorted({shard_of(id, shards) for id in ids})
    return timeline(source, ids, in_shards, late, period, name, before, limit) | {"complete": is_complete}


def undrained(store: Store, ids: Sequence[str]) -> tuple[list[Undrained], bool]:
    """The events of these ids that the lake may lack; and whether these are all.

    Where the drain is so far behind that a log has more than `LOOKED_AT_MAX` entries, its newest are looked at.
    """
    shards = {shard_of(id, store.shards) for id in ids}
    rows: list[Undrained] = []
    is_complete = True
    for state in store.shard_states():
        if state.shard in shards:
            first = max(state.drained, state.seq - LOOKED_AT_MAX)
            is_complete = is_complete and first == state.drained
            rows += _rows(state.shard, _entries(store, state.shard, first, state.seq), set(ids))
    return rows, is_complete


def _entries(store: Store, shard: int, after: int, upto: int) -> Iterable[LogEntry]:
    while entries := store.read_log(shard, after, LOG_AT_ONCE):
        yield from (entry for entry in entries if entry.seq <= upto)
        after = entries[-1].seq
        if after >= upto:
            return


def _rows(shard: int, entries: Iterable[LogEntry], ids: set[str]) -> Iterable[Undrained]:
    for seq, event, ts_ms, received_ms, _ in entries:
        if event.id in ids and event.kind not in ACT_KINDS:
            yield Undrained(
                shard,
                seq,
                event.event_id,
                event.kind,
                event.id,
                event.name,
                ts_ms,
                received_ms,
                _json(event.properties),
                _json(event.traits),
                _json(event.context),
            )


def _json(value: dict[str, Any]) -> str | None:
    return _encode(value).decode() if value else None


def timeline(
    source: Source,
    ids: list[str],
    shards: list[int],
    more: list[Undrained],
    period: tuple[int | None, int | None],
    name: str | None,
    before: Place | None,
    limit: int,
) -> dict[str, Any]:
    """A page of the events of a person's ids, which are in these shards, and whether the person has any at all.

    `period` is [from, to) in UTC ms. `next` is the place of the last event where there are more behind it.
    """
    history = source.history()
    rows = rows_of(history, ids, shards)
    columns = rows.columns
    late = pl.DataFrame(more, schema={field: _TYPES.get(field, pl.String) for field in Undrained._fields}, orient="row")
    late = late.with_columns(pl.col("shard").cast(rows.schema["shard"])).join(rows, on=["shard", "seq"], how="anti")
    events = counted(pl.concat([rows, late.select(columns)]).lazy()).filter(~pl.col("kind").is_in(LINK_KINDS)).collect()
    place = pl.struct(Place._fields)
    wanted = _within(period)
    if name is not None:
        wanted = wanted & (pl.col("name") == name).fill_null(False)
    found = events.filter(wanted).sort(Place._fields, descending=True)
    if before is not None:
        found = found.filter(_is_behind(before))
    page = found.head(limit)
    texts = _sent(history, page, late)
    last = page.select(place.alias("place"))["place"].to_list()[-1:] if len(found) > limit else []
    return {
        "events": [_wire(row, texts) for row in page.iter_rows(named=True)],
        "next": Place(**last[0]) if last else None,
        "any": len(events) > 0,
    }


_TYPES = {name: pl.Int64() for name in ("shard", "seq", "ts", "received_at")}


def _within(period: tuple[int | None, int | None]) -> pl.Expr:
    since_ms, until_ms = period
    inside = pl.lit(True)
    if since_ms is not None:
        inside = inside & (pl.col("ts") >= since_ms)
    if until_ms is not None:
        inside = inside & (pl.col("ts") < until_ms)
    return inside


def _is_behind(before: Place) -> pl.Expr:
    """Whether a row's place is less than this one: in the first part in which they differ."""
    behind = pl.lit(False)
    places: dict[str, Any] = before._asdict()
    for field, value in reversed(places.items()):
        behind = (pl.col(field) < value) | ((pl.col(field) == value) & behind)
    return behind


_TEXTS = ("properties", "traits", "context")


def _sent(
    history: History, page: pl.DataFrame, late: pl.DataFrame
) -> dict[tuple[str, str, int], tuple[str | None, ...]]:
    """What was sent with the events of a page, by id, event id and receipt: of `late` ones from there."""
    sent = late.select(*COPY, *_TEXTS)
    in_lake = page.join(sent, on=COPY, how="anti")
    if not in_lake.is_empty():
        sent = pl.concat([sent_with(history, in_lake, _TEXTS), sent])
    return {(id, event_id, received_at): tuple(texts) for id, event_id, received_at, *texts in sent.iter_rows()}


def _wire(row: dict[str, Any], texts: dict[tuple[str, str, int], tuple[str | None, ...]]) -> dict[str, Any]:
    own = texts.get((row["id"], row["event_id"], row["received_at"]), (None,) * len(_TEXTS))
    return {
        "id": row["id"],
        "kind": row["kind"],
        "eventId": row["event_id"],
        "ts": rfc3339(row["ts"]),
        "received_at": rfc3339(row["received_at"]),
        "name": row["name"],
        **{name: msgspec.json.decode(text or "null") for name, text in zip(_TEXTS, own, strict=True)},
    }
