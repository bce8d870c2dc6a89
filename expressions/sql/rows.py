"""The rows that a query starts from: the events that count under their persons, the ids, and the clock.

An event has the columns id, event_id, kind, name, ts, seq, received_at and props. Each step is a CTE over those before.

1. `calendar`   starts_at, ends_at, offset_ms, least_day: one row a period of a time zone other than UTC (`dates`)
2. `clock`      now_ms, and today where a date is needed: one row
3. `purged`     id, seq, received_at: the deletes that stand under the hash of an id (`deletes.tombstone_id`)
4. `deleted`    id, deleted_seq, deleted_at: one row an id that was deleted, its last delete. Ids of purged deletes are
                here too: only imports can still have rows of them, and links name them
5. `live`       an event: the rows that no delete of their id covers; links without those that were claimed before their
                owner's delete
6. `repeated`   id, event_id: one row for each that several rows share. Links and unlinks are no events
7. `met`        an event, and logged_at, the receipt of its first logged copy: one row a copy of those
8. `copies`     an event, its number `copy` in order of receipt, and first_received_at: one row a copy,
                without imports of what was logged before
9. `late`       id, event_id, copy, received_at, turn: one row a logged copy received 24 h or more after the first.
                Imported copies behind the first are no new events at any distance
10. `kept`      id, event_id, copy, turn, counted_at, counts: 9, turn by turn (recursive): whether the copy counts, and
                the receipt of the last copy that does
11. `unlinked`  id, unlinked_seq: one row an id that was unlinked, its last unlink
12. `linked`    id, linked_seq: one row an id that was linked since, its first claim
13. `owners`    id, owner: one row an id that belongs to another
14. `above`     id, person, removes: one row for each that such an id belongs to, at any remove (recursive)
15. `people`    id, person: one row an id that belongs to another, with the person at the end
16. `once`      id (the person), kind, name, ts, props: one row an event or act that counts (S11)
17. `ids`       id (the person): one row a person that has any row

The rule of repeats is a chain: each copy is measured against the last that counts, which may itself be a repeat. So it
is followed copy by copy, but only through late copies. Mostly there are none: nearly all events came once, and a hash
join is all that they cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from textwrap import indent
from typing import NamedTuple

import sqlglot
from sqlglot import exp

from ..rules.repeats import REPEAT_MS
from ..rules.windows import UTC_ZONE, Zone
from .cells import column, whole
from .dates import calendar, day_of, with_calendar
from .engines import Engine
from .steps import without_unread

_PURGED = """
SELECT id, seq, received_at FROM events WHERE kind = 'delete' AND id LIKE 'gone:%'
"""

_DELETED = """
SELECT named.id, MAX(named.seq) AS deleted_seq, MAX(named.received_at) AS deleted_at
FROM (
  SELECT id, seq, received_at FROM events WHERE kind = 'delete'
  UNION ALL
  SELECT late.id, purged.seq, purged.received_at
  FROM (
    SELECT id, SHA1_HEX(id) AS digest FROM events WHERE seq IS NULL GROUP BY id
    UNION ALL
    SELECT name AS id, SHA1_HEX(name) AS digest FROM events WHERE kind = 'link' GROUP BY name
  ) AS late
  JOIN purged ON purged.id = CONCAT('gone:', late.digest)
) AS named
GROUP BY named.id
"""

_LIVE = """
SELECT events.id, events.event_id, events.kind, events.name, events.ts, events.seq, events.received_at, events.props
FROM events
LEFT JOIN deleted ON deleted.id = events.id
LEFT JOIN deleted AS owner ON owner.id = CASE WHEN events.kind = 'link' THEN events.name END
WHERE events.kind <> 'delete' AND (deleted.id IS NULL OR events.seq > deleted.deleted_seq
  OR (events.seq IS NULL AND events.ts > deleted.deleted_at))
  AND (owner.id IS NULL OR events.ts > owner.deleted_at)
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
SELECT id, event_id, kind, name, ts, seq, received_at, props,
  ROW_NUMBER() OVER (PARTITION BY id, event_id ORDER BY COALESCE(seq, 0), received_at, ts, kind,
    COALESCE(name, ''), FIELDS_KEY(props)) AS copy,
  FIRST_VALUE(received_at) OVER (PARTITION BY id, event_id ORDER BY COALESCE(seq, 0), received_at) AS first_received_at
FROM met
WHERE seq IS NOT NULL OR logged_at IS NULL OR received_at < logged_at
"""

_LATE = f"""
SELECT id, event_id, copy, received_at, ROW_NUMBER() OVER (PARTITION BY id, event_id ORDER BY copy) AS turn
FROM copies
WHERE received_at >= first_received_at + {REPEAT_MS} AND seq IS NOT NULL
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
#: The CTEs of steps 3 to 17.
ROW_CTES = frozenset(_PIECES)

#: All words of the pieces: whatever else is read of a query changes nothing in them.
_WORDS = frozenset(re.findall(r"\w+", " ".join([*_PIECES, *_PIECES.values()])))


class Rows(NamedTuple):
    """The texts of CTEs, and all names that are read in them and after them."""

    ctes: Sequence[str]
    read: frozenset[str]


def events_once(table: exp.Table, engine: Engine, reads_fields: bool, read: frozenset[str]) -> Rows:
    """The CTEs of steps 3 to 17, each cut to what is read of it. `read` has the names that are read after them.

    Where no field is read, `props` does not take part in the order of copies: it is most of the bytes of a table, and
    any of two events counts that differ in nothing else.
    """
    rows = _rows(table, engine, reads_fields, read & _WORDS)
    return Rows(rows.ctes, rows.read | read)


@lru_cache(maxsize=64)  # to write them takes longer than all the rest of a query, and few sets of their names are read
def _rows(table: exp.Table, engine: Engine, reads_fields: bool, read: frozenset[str]) -> Rows:
    pieces = {name: _piece(text, table, engine, reads_fields) for name, text in _PIECES.items()}
    kept, read_then = without_unread(pieces, read)
    return Rows(written_ctes(kept, engine), read_then)


def written_ctes(ctes: Mapping[str, exp.Query], engine: Engine) -> list[str]:
    """The texts of CTEs that hold no text of an author: lines are indented, also within one."""
    texts = {name: query.sql(dialect=engine.name, pretty=True) for name, query in ctes.items()}
    return [f"{name} AS (\n{indent(text, '  ')}\n)" for name, text in texts.items()]


def _piece(text: str, table: exp.Table, engine: Engine, reads_fields: bool) -> exp.Query:
    """A fixed piece of a query, with the table in the place of `events` and the engine's own functions."""
    tree = sqlglot.parse_one(text, dialect="duckdb")
    assert isinstance(tree, exp.Query), "a piece is one query"
    for source in list(tree.find_all(exp.Table)):
        if source.name == "events":
            source.replace(table.copy() if table.sql() == "events" else exp.alias_(table.copy(), "events", table=True))
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
    """Steps 1 and 2. `clock` has today where `dated`. There is a `calendar` where dates depend on a zone."""
    instant = engine.now_ms() if now_ms is None else whole(now_ms)
    now = exp.select(exp.alias_(exp.cast(instant, "BIGINT"), "now_ms"))
    if not dated:
        return {"clock": now}
    today = exp.alias_(day_of(column("now_ms"), zone), "today")
    query = exp.select("now_ms", today).from_(now.subquery("instant"))
    if zone == UTC_ZONE:
        return {"clock": query}
    return {"calendar": calendar(zone), "clock": with_calendar(query, "now_ms")}
