"""Every table's columns, key, partition and ordering, on one page.

Times are UTC milliseconds. `id` is namespaced (`user:ada`). Statistics are kept of shard, seq and ts alone, so that the
tables' logs hold nothing that a person sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

#: Files that no newest version needs are kept this long, for readers that pinned an older version. A version's log is
#: kept as long after the next version came.
RETENTION_HOURS = 24

TYPED = pa.struct([("number", pa.float64()), ("string", pa.string()), ("boolean", pa.bool_()), ("json", pa.string())])


@dataclass(frozen=True)
class Table:
    """A table: its columns, how it is partitioned, and how its rows are ordered when files are compacted."""

    name: str
    columns: pa.Schema
    partition: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    def configuration(self) -> dict[str, str]:
        """The properties of the table, by Delta's names."""
        measured = [name for name in ("shard", "seq", "ts") if name in self.columns.names]
        return {
            "delta.dataSkippingStatsColumns" if measured else "delta.dataSkippingNumIndexedCols": ",".join(measured)
            or "0",
            # Each look at a table and each checkpoint pays for the log's own files, tens of thousands a day, and for
            # what the log says of files that were replaced.
            "delta.logRetentionDuration": f"interval {RETENTION_HOURS} hours",
            # `lake.old_files` drops logs: what goes with a checkpoint may take the log of a version that was the newest
            # seconds ago.
            "delta.enableExpiredLogCleanup": "false",
            "delta.deletedFileRetentionDuration": f"interval {RETENTION_HOURS} hours",
            # A checkpoint lists all files and is kept as long as the log: one each hundred commits takes gigabytes a
            # day.
            "delta.checkpointInterval": "500",
        }


#: Every accepted event, once or more often: readers deduplicate. `seq` is null for imported events, which have the
#: `import_id` of their import; those of a release before this column have none. `properties`, `traits` and `context`
#: are JSON as it came, for people; executions read `props`.
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
            ("import_id", pa.string()),
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

#: A value of a trait for an id. `is_latest` rows are of the newest full rebuild, and the next one replaces them.
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

#: An id that is in a segment. `since` is the instant of the first rebuild from which on every one saw the id there.
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

#: What each rebuild did. `seqs` says for each shard how far its log was in the lake. `sizes` of a full one is JSON: how
#: many people there were (`users`), how many are in each segment and have each trait, and by which version of all
#: `definitions`.
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
            ("sizes", pa.string()),
        ]
    ),
)

#: Refused events and rows, with the reason. `source` is "api" or the name of an imported file, `line` the line or index
#: in it. An event that the API refused has an `id`, and what it takes to send it again: its text, the context and time
#: that its batch named, the kind that its path named. `is_cut`: not all of the text is here. `ids` are those that it
#: names, as JSON. A row with a `redriven_at` is about the event of that id: it was sent again then.
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
            ("id", pa.string()),
            ("path", pa.string()),
            ("key", pa.string()),
            ("kind", pa.string()),
            ("field", pa.string()),
            ("remedy", pa.string()),
            ("ids", pa.string()),
            ("sent_at", pa.string()),
            ("context", pa.string()),
            ("is_cut", pa.bool_()),
            ("redriven_at", pa.int64()),
        ]
    ),
)

#: Every key that an admin made: a row when it was made, another when it was revoked. Holds the digest, never the key.
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

#: What admins did: `action` on a `kind` of thing named `key`. `author` is the label of the key that was used.
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

#: Every import: a row when it began, another when its rows were in, or were taken out again (`state`). `at` is the
#: receipt of its rows, `source` what its command named, `author` the user of the machine. `files` (their names) and
#: `mapping` (how they were read) are JSON. `accepted`, `already` and `rejected` count rows. `identity` names the
#: content of the files and how they are read: by it a command takes up an import that was cut off, as the next `run` of
#: it. Runs count from 1; rows of an older release have neither. `identities` are those of its files one by one, and
#: `relied_on` the ids of the imports that had rows in the lake when it withheld some of its own; both are JSON.
IMPORTS = Table(
    "imports",
    pa.schema(
        [
            ("id", pa.string()),
            ("at", pa.int64()),
            ("state", pa.string()),
            ("source", pa.string()),
            ("files", pa.string()),
            ("mapping", pa.string()),
            ("author", pa.string()),
            ("accepted", pa.int64()),
            ("already", pa.int64()),
            ("rejected", pa.int64()),
            ("identity", pa.string()),
            ("run", pa.int64()),
            ("identities", pa.string()),
            ("relied_on", pa.string()),
        ]
    ),
)

#: All tables: each is maintained, packed and measured. Retention and the purge name theirs one by one.
TABLES = (EVENTS, DEFINITIONS, TRAITS, MEMBERSHIPS, RUNS, REJECTED, API_KEYS, AUDIT, IMPORTS)
