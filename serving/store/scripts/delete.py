"""Deleting what an id has: a tombstone in its log, and nothing of it left in its record, in one step.

Base, tail, owner and members go. What stays is the tombstone, which refuses every base that covers less than it and
every replay of what is before it; and the hashes of the event ids of the last 24 h, so that the repeat of a deleted
event is no new event. What comes after counts as if nothing had been before.

    KEYS  log, shard, ready, record
    ARGV  run_id, log payload
    reply "unready", or the seq of the tombstone
"""

from __future__ import annotations

from typing import Any

from serving.store import keys
from serving.store.scripts.lua_copies import COPIES, REMEMBER
from serving.store.scripts.script import Command, Script
from serving.store.scripts.tombstones import GONE

DELETE = Script(
    COPIES
    + REMEMBER
    + GONE
    + """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 'unready' end

local shard = redis.call('HMGET', KEYS[2], 'seq', 'last')
local seq, last = tonumber(shard[1] or 0) + 1, tonumber(shard[2] or 0)
local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), last)
local now_text = string.format('%d', now)

local key = KEYS[4]
local kept = {}
revive(key)
remembered(key, now, kept)
local fields = redis.call('HGETALL', key)
for i = 1, #fields, 2 do
  if #fields[i] >= 8 then
    local of, _, received = header(fields[i + 1])
    local hash = string.sub(fields[i], 1, 8)
    if now - received < REPEAT_MS then kept[hash] = hash .. struct.pack('>I6I6', received, of) end
  end
end

redis.call('XADD', KEYS[1], string.format('%d-0', seq), 'e', ARGV[2], 't', now_text, 'r', now_text)
redis.call('DEL', key, recent_key(key))
redis.call('HSET', key, 'd', struct.pack('>I6I6', seq, now), 'l', struct.pack('>I6I6', now, seq))
remember(key, kept)
redis.call('HSET', KEYS[2], 'seq', seq, 'last', now)
return seq
"""
)


def delete(shard: int, namespaced_id: str, log: bytes) -> Command:
    """Deletes what an id has up to now."""
    names = [keys.log(shard), keys.shard(shard), keys.ready(shard), keys.record(shard, namespaced_id)]
    return DELETE(names, [log], run_id_first=True)


def read(reply: Any) -> int | str:
    """The seq of the tombstone, or the word that the call was refused with."""
    return reply.decode() if isinstance(reply, bytes) else int(reply)
