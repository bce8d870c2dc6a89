"""The rows a query starts from: which events count, at which instant, and on which date each fell.

    clock       one row: the instant of the answer and, where a date is needed, today's
    calendar    the offsets of a time zone other than UTC, and since when
    purged      the deletes that stand under the hash of an id (`deletes.tombstone_id`)
    deleted     ids that were deleted, and when last; purged ones too, of which only an import can have rows
    live        the events that no delete of their id covers
    repeated    which event ids an id has more than once; links, as everywhere here, are no events
    met         the events of those, and when the first of them was logged
    copies      those numbered in order of receipt, without the imports of what was logged before
    late        of them, the repeats received 24 h or more after the first copy
    kept        (recursive) whether a late repeat counts, turn by turn
    unlinked    ids that were unlinked, and when last
    linked      ids that were linked since, and by which claim first
    owners      whose these ids are
    above       (recursive) each of them with all it belongs to, at any remove
    people      each of them with the person at the end
    once        the events that count (S11), each under its person's id

The rule of repeats is a chain: each copy is measured against the one that counts, which may itself be a repeat. So it
is followed copy by copy, but only through those that are late enough to matter: mostly there are none, and an event
that came once, as nearly all do, is touched by nothing but a hash join.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from ..rules.repeats import REPEAT_MS
from ..rules.windows import DAY_MS, END_MS, UTC_ZONE, Zone
from .cells import Sql, column, double, whole
from .engines import Engine

_PURGED = """
SELECT id, seq, received_at FROM events WHERE kind = 'delete' AND id LIKE 'gone:%'
"""

_DELETED = """
SELECT named.id, MAX(named.seq) AS deleted_seq, MAX(named.received_at) AS deleted_at
FROM (
  SELECT id, seq, received_at FROM events WHERE kind = 'delete'
  UNION ALL
  SELECT imported.id, purged.seq, purged.received_at
  FROM (SELECT id, SHA1_HEX(id) AS digest FROM events WHERE seq IS NULL GROUP BY id) AS imported
  JOIN purged ON purged.id = CONCAT('gone:', imported.digest)
) AS named
GROUP BY named.id
"""

_LIVE = """
SELECT events.id, events.event_id, events.kind, events.name, events.ts, events.seq, events.received_at, events.props
FROM events
LEFT JOIN deleted ON deleted.id = events.id
WHERE events.kind <> 'delete' AND (deleted.id IS NULL OR events.seq > deleted.deleted_seq
  OR (events.seq IS NULL AND events.ts > deleted.deleted_at))
"""

_REPEATED = """
SELECT id, event_id FROM live WHERE kind NOT IN ('link', 'unlink') GROUP BY id, event_id HAVING COUNT(*) > 1
"""

_MET = """
SELECT live.id, live.event_id, live.kind, live.name, live.ts, live.seq, live.received_at, live.props,
  MIN(CASE WHEN live.seq IS NOT NULL THEN live.received_at END)
    OVER (PARTITION BY live.id, live.event_id) AS logged_at
FROM live
JOIN repeated ON repeated.id = live.id AND repeated.event_id = live.event_id
WHERE live.kind NOT IN ('link', 'unlink')
"""

_COPIES = """
SELECT id, event_id, kind, name, ts, received_at, props,
  ROW_NUMBER() OVER (PARTITION BY id, event_id ORDER BY COALESCE(seq, 0), received_at, ts, kind,
    COALESCE(name, ''), FIELDS_KEY(props)) AS copy,
  FIRST_VALUE(received_at) OVER (PARTITION BY id, event_id ORDER BY COALESCE(seq, 0), received_at) AS first_received_at
FROM met
WHERE seq IS NOT NULL OR logged_at IS NULL OR received_at < logged_at
"""

_LATE = f"""
SELECT id, event_id, copy, received_at, ROW_NUMBER() OVER (PARTITION BY id, event_id ORDER BY copy) AS turn
FROM copies
WHERE received_at >= first_received_at + {REPEAT_MS}
"""

_KEPT = f"""
SELECT id, event_id, copy, turn, received_at AS counted_at, TRUE AS counts FROM late WHERE turn = 1
UNION ALL
SELECT late.id, late.event_id, late.copy, late.turn,
  CASE WHEN late.received_at >= kept.counted_at + {REPEAT_MS} THEN late.received_at ELSE kept.counted_at END,
  late.received_at >= kept.counted_at + {REPEAT_MS}
FROM kept JOIN late ON late.id = kept.id AND late.event_id = kept.event_id AND late.turn = kept.turn + 1
"""

_UNLINKED = "SELECT id, MAX(seq) AS unlinked_seq FROM live WHERE kind = 'unlink' GROUP BY id"

_LINKED = """
SELECT live.id, MIN(live.seq) AS linked_seq
FROM live
LEFT JOIN unlinked ON unlinked.id = live.id
WHERE live.kind = 'link' AND (unlinked.id IS NULL OR live.seq > unlinked.unlinked_seq)
GROUP BY live.id
"""

_OWNERS = """
SELECT live.id, live.name AS owner
FROM live
JOIN linked ON linked.id = live.id AND linked.linked_seq = live.seq
WHERE live.kind = 'link'
"""

_ABOVE = """
SELECT id, owner AS person, 1 AS removes FROM owners
UNION ALL
SELECT above.id, owners.owner, above.removes + 1
FROM above JOIN owners ON owners.id = above.person
WHERE above.removes < 1000
"""

_PEOPLE = """
SELECT above.id, above.person
FROM above
LEFT JOIN owners ON owners.id = above.person
WHERE owners.id IS NULL
"""

_ONCE = """
SELECT COALESCE(people.person, live.id) AS id, live.kind, live.name, live.ts, live.props
FROM live
LEFT JOIN repeated ON repeated.id = live.id AND repeated.event_id = live.event_id
LEFT JOIN people ON people.id = live.id
WHERE repeated.id IS NULL
UNION ALL
SELECT COALESCE(people.person, copies.id) AS id, copies.kind, copies.name, copies.ts, copies.props
FROM copies
LEFT JOIN kept ON kept.id = copies.id AND kept.event_id = copies.event_id AND kept.copy = copies.copy
LEFT JOIN people ON people.id = copies.id
WHERE copies.copy = 1 OR kept.counts
"""

_IDS = """
SELECT DISTINCT COALESCE(people.person, live.id) AS id
FROM live
LEFT JOIN people ON people.id = live.id
"""

_PIECES = {
    "purged": _PURGED,
    "deleted": _DELETED,
    "live": _LIVE,
    "repeated": _REPEATED,
    "met": _MET,
    "copies": _COPIES,
    "late": _LATE,
    "kept": _KEPT,
    "unlinked": _UNLINKED,
    "linked": _LINKED,
    "owners": _OWNERS,
    "above": _ABOVE,
    "people": _PEOPLE,
    "once": _ONCE,
    "ids": _IDS,
}


def events_once(table: exp.Table, engine: Engine, reads_fields: bool) -> dict[str, exp.Query]:
    """The CTEs from the raw table to `once`: id, kind, name, ts and props of every event that counts; and to `ids`.

    Where no field is read it does not matter which of two events counts that differ in nothing else, and `props`, which
    is most of what a table holds, is not looked at.
    """
    return {name: _over(table, text, engine, reads_fields) for name, text in _PIECES.items()}


def _over(table: exp.Table, text: str, engine: Engine, reads_fields: bool) -> exp.Query:
    """A fixed piece of a query, from text that can be read, with the table in the place of `events`."""
    tree = sqlglot.parse_one(text, dialect="duckdb")
    assert isinstance(tree, exp.Query), "a piece is one query"
    for one in list(tree.find_all(exp.Table)):
        if one.name == "events":
            one.replace(table.copy() if table.sql() == "events" else exp.alias_(table.copy(), "events", table=True))
    for call in list(tree.find_all(exp.Anonymous)):
        match call.name:
            case "SHA1_HEX":
                call.replace(engine.sha1_hex(call.expressions[0]))
            case "FIELDS_KEY" if reads_fields:
                call.replace(engine.fields_key(call.expressions[0]))
            case "FIELDS_KEY":
                place = call.find_ancestor(exp.Ordered)
                assert place is not None, "fields are what rows are ordered by"
                place.pop()
    return tree


def clock(engine: Engine, now_ms: int | None, zone: Zone, dated: bool) -> dict[str, exp.Query]:
    """`clock` with now_ms and, where `dated`, today; before it the `calendar` it takes today from."""
    instant = engine.now_ms() if now_ms is None else whole(now_ms)
    now = exp.select(exp.alias_(exp.cast(instant, "BIGINT"), "now_ms"))
    if not dated:
        return {"clock": now}
    today = exp.alias_(day_of(column("now_ms"), zone), "today")
    query = exp.select("now_ms", today).from_(now.subquery("instant"))
    if zone == UTC_ZONE:
        return {"clock": query}
    return {"calendar": _calendar(zone), "clock": with_calendar(query, "now_ms")}


def day_of(instant_ms: Sql, zone: Zone) -> Sql:
    """The date of an instant, as days since 1970-01-01; for zones other than UTC of a row joined by `with_calendar`."""
    if zone == UTC_ZONE:
        return exp.Floor(this=instant_ms / double(DAY_MS))
    local = exp.Floor(this=exp.paren(instant_ms + column("offset_ms")) / double(DAY_MS))
    return exp.Greatest(this=local, expressions=[column("least_day")])


def with_calendar(query: exp.Select, instant: str) -> exp.Select:
    """The query joined to the period that holds its instant."""
    at = column(instant)
    return query.join("calendar", on=exp.and_(at >= column("starts_at"), at < column("ends_at")))


def _calendar(zone: Zone) -> exp.Select:
    """The periods of `windows.Calendar`.

    A table and not the engine's own time zones, so that every engine gives the date that `windows.Zone` gives.
    """
    starts_ms, offsets_ms, least_days = zone.calendar
    rows = zip(starts_ms, [*starts_ms[1:], END_MS], offsets_ms, least_days, strict=True)
    values = exp.values(
        [tuple(whole(part) for part in row) for row in rows],
        alias="periods",
        columns=["starts_at", "ends_at", "offset_ms", "least_day"],
    )
    return exp.select("starts_at", "ends_at", "offset_ms", "least_day").from_(values)
