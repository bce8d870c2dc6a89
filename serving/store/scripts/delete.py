"""Deleting what an id has: a tombstone in its log, and nothing of it left in its record, in one step.

Base, tail and owner go. Three things stay. The tombstone refuses every base that covers less than it, and every replay
of a row from before it. The hashes of the event ids of the last 24 h make the repeat of a deleted event no new event.
The list of members stays until the delete of the person has looked through it (`people.deletion`): a link may have been
made since that person was gathered. Later events count as if nothing had been before.

Until the lake has the delete, it is also in `deletes`: an answer from the lake leaves out by it what it covers.

    KEYS  log, deletes, shard, ready, record
    ARGV  run_id, entry (log payload), namespaced_id
    reply "unready", or the seq of the tombstone
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.lua_copies import COPIES, REMEMBER
from serving.store.scripts.lua_log import LOG
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import RUN_ID, Key, script


class Delete(NamedTuple):
    """The KEYS and ARGV of the script."""

    log: Key
    deletes: Key
    shard: Key
    ready: Key
    record: Key
    run_id: str
    entry: bytes
    namespaced_id: str


DELETE = script(
    Delete,
    COPIES,
    REMEMBER,
    GONE,
    LOG,
    """
if redis.call('GET', ready) ~= run_id then return 'unready' end

local seq, last = unpack(redis.call('HMGET', shard, SEQ, LAST_RECEIPT))
seq, last = tonumber(seq or 0) + 1, tonumber(last or 0)
local now = receipt_ms(shard, last)
local now_text = string.format('%d', now)

local kept = {}
revive(record)
local long = keep_all_but_the_longest(kept, record, now)
local members = redis.call('HGET', record, MEMBERS)
visit_tail(record, function(field, entry) keep_tail_entry(kept, field, entry, now) end)

append(log, seq, entry, now_text, now_text)
redis.call('DEL', record, recent_key(record))
redis.call('HSET', record, TOMBSTONE, struct.pack('>I6I6', seq, now), LAST, struct.pack('>I6I6', now, seq))
if members then redis.call('HSET', record, MEMBERS, members) end
remember_forgotten(record, kept, long)
redis.call('ZADD', deletes, seq, struct.pack('>I6', now) .. namespaced_id)
redis.call('HSET', shard, SEQ, seq, LAST_RECEIPT, now, DELETED, seq)
return seq
""",
)


def command(shard: int, namespaced_id: str, entry: bytes) -> Command:
    """Deletes what an id has up to now."""
    return DELETE(
        Delete(
            log=keys.log(shard),
            deletes=keys.deletes(shard),
            shard=keys.shard(shard),
            ready=keys.ready(shard),
            record=keys.record(shard, namespaced_id),
            run_id=RUN_ID,
            entry=entry,
            namespaced_id=namespaced_id,
        )
    )


def read(reply: Any) -> int | str:
    """The seq of the tombstone, or the word that the call was refused with."""
    return reply.decode() if isinstance(reply, bytes) else int(reply)
