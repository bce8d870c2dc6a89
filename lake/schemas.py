"""Every table's columns, key, partition and ordering, on one page.

Times are UTC milliseconds. `id` is namespaced (`user:ada`). Statistics are kept of shard, seq and ts alone, so that the
tables' logs hold nothing of what a person sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

TYPED = pa.struct([("number", pa.float64()), ("string", pa.string()), ("boolean", pa.bool_()), ("json", pa.string())])


@dataclass(frozen=True)
class Table:
    """A table: its columns, how it is partitioned, and how its rows are ordered when files are compacted."""

    name: str
    columns: pa.Schema
    partition: tuple[str, ...] = ()
    order: tuple[str, ...] = ()


#: Every accepted event, once or more often: readers deduplicate. `seq` is null for imported ones. `properties`,
#: `traits` and `context` are JSON as it came, for people; `props` is what executions read.
EVENTS = Table(
    "events",
    pa.schema(
        [
            ("ingest_date", pa.date32()),
            ("shard", pa.int32()),
            ("seq", pa.int64()),
            ("event_id", pa.string()),
            ("kind", pa.string()),
            ("id_kind", pa.string()),
            ("id", pa.string()),
            ("user_id", pa.string()),
            ("anonymous_id", pa.string()),
            ("name", pa.string()),
            ("ts", pa.int64()),
            ("original_ts", pa.int64()),
            ("received_at", pa.int64()),
            ("properties", pa.string()),
            ("props", pa.map_(pa.string(), TYPED)),
            ("traits", pa.string()),
            ("context", pa.string()),
        ]
    ),
    partition=("ingest_date",),
    order=("shard", "id", "ts"),
)

#: Every version of every definition; `body` is the whole of it as JSON.
DEFINITIONS = Table(
    "definitions",
    pa.schema(
        [
            ("kind", pa.string()),
            ("key", pa.string()),
            ("version", pa.int64()),
            ("expression", pa.string()),
            ("deleted", pa.bool_()),
            ("author", pa.string()),
            ("updated_at", pa.int64()),
            ("body", pa.string()),
        ]
    ),
)

#: A value of a trait for an id; `is_latest` rows are those of the newest full rebuild, replaced by the next one.
TRAITS = Table(
    "traits",
    pa.schema(
        [
            ("is_latest", pa.bool_()),
            ("id", pa.string()),
            ("key", pa.string()),
            ("number", pa.float64()),
            ("string", pa.string()),
            ("boolean", pa.bool_()),
            ("json", pa.string()),
            ("exact", pa.bool_()),
            ("as_of", pa.int64()),
            ("build", pa.int64()),
        ]
    ),
    partition=("is_latest",),
)

#: An id that is in a segment; `since` is when the first rebuild saw it there that no other has contradicted since.
MEMBERSHIPS = Table(
    "memberships",
    pa.schema(
        [
            ("is_latest", pa.bool_()),
            ("id", pa.string()),
            ("key", pa.string()),
            ("since", pa.int64()),
            ("as_of", pa.int64()),
            ("build", pa.int64()),
        ]
    ),
    partition=("is_latest",),
)

#: What each rebuild did.
RUNS = Table(
    "runs",
    pa.schema(
        [
            ("build", pa.int64()),
            ("version", pa.int64()),
            ("as_of", pa.int64()),
            ("seqs", pa.list_(pa.int64())),
            ("events", pa.int64()),
            ("users", pa.int64()),
            ("published", pa.int64()),
            ("seconds", pa.float64()),
            ("kind", pa.string()),
        ]
    ),
)

#: Refused events and rows, with the reason. `source` is "api" or an imported file, `line` its line or index.
REJECTED = Table(
    "rejected",
    pa.schema(
        [
            ("received_at", pa.int64()),
            ("source", pa.string()),
            ("line", pa.int64()),
            ("code", pa.string()),
            ("reason", pa.string()),
            ("event", pa.string()),
        ]
    ),
)

#: Every key that an admin made, a row when it was made and one when it was revoked; the digest, never the key.
API_KEYS = Table(
    "api_keys",
    pa.schema(
        [
            ("id", pa.string()),
            ("kind", pa.string()),
            ("label", pa.string()),
            ("digest", pa.string()),
            ("created_at", pa.int64()),
            ("author", pa.string()),
            ("revoked_at", pa.int64()),
        ]
    ),
)

#: What admins did: `action` on a `kind` of thing named `key`, signed with the label of the key that was used.
AUDIT = Table(
    "audit",
    pa.schema(
        [
            ("at", pa.int64()),
            ("author", pa.string()),
            ("action", pa.string()),
            ("kind", pa.string()),
            ("key", pa.string()),
            ("details", pa.string()),
        ]
    ),
)

TABLES = (EVENTS, DEFINITIONS, TRAITS, MEMBERSHIPS, RUNS, REJECTED, API_KEYS, AUDIT)
