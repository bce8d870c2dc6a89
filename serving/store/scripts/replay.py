"""Putting lake rows back into records, after Redis lost the end of its log (an older backup, a promoted replica).

A row becomes the tail entry it was, under its own seq, unless its record's base covers it, a tombstone is newer, or it
is there already; so a replay that was cut off is simply run again, and a publish in between does no harm.

    KEYS  wanted, then a record each
    ARGV  tail_wanted, then per record: n, and n times (event hash, seq, ts, received, tail payload), by seq
    reply how many rows went in
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from serving.store import keys
from serving.store.scripts.lua_copies import COPIES
from serving.store.scripts.script import Argument, Command, Script
from serving.store.scripts.tombstones import GONE

REPLAY = Script(
    COPIES
    + GONE
    + """
local taken = 0
local at = 1
for k = 2, #KEYS do
  local key = KEYS[k]
  if redis.call('EXISTS', key) == 0 then revive(key) end
  local held = redis.call('HMGET', key, 's', 'r', 'l', 'd')
  local after = held[1] and cmsgpack.unpack(held[1])[3] or 0
  if held[4] then after = math.max(after, (struct.unpack('>I6', held[4]))) end
  local last_received, last_seq = 0, 0
  if held[3] then last_received, last_seq = struct.unpack('>I6I6', held[3]) end

  local n = tonumber(ARGV[at + 1])
  for i = 1, n do
    local row = at + 2 + 5 * (i - 1)
    local hash, seq, received = ARGV[row], tonumber(ARGV[row + 1]), tonumber(ARGV[row + 3])
    local is_new = seq > after
    if is_new then
      local copied = covered_copy(key, held[2], hash)
      if copied and received - copied < REPEAT_MS then is_new = false end
    end
    if is_new then
      local entry = entry_of(seq, tonumber(ARGV[row + 2]), received, ARGV[row + 4])
      local newest = redis.call('HGET', key, hash)
      if not newest or header(newest) < seq then
        if newest then redis.call('HSET', key, older_field(hash, newest), newest) end
        redis.call('HSET', key, hash, entry)
        taken = taken + 1
      elseif header(newest) > seq then
        taken = taken + redis.call('HSETNX', key, older_field(hash, entry), entry)
      end
    end
    last_received, last_seq = math.max(last_received, received), math.max(last_seq, seq)
  end
  at = at + 1 + 5 * n
  redis.call('HSET', key, 'l', struct.pack('>I6I6', last_received, last_seq))
  if redis.call('HLEN', key) > tonumber(ARGV[1]) then redis.call('HINCRBY', KEYS[1], key, 1) end
end
return taken
"""
)


class Row(NamedTuple):
    """One row of the lake, ready for its record."""

    event_hash: bytes
    seq: int
    ts_ms: int
    received_ms: int
    tail: bytes


def replay(shard: int, records: Sequence[tuple[str, Sequence[Row]]], tail_wanted: int) -> Command:
    """The call for some ids of one shard, ids distinct, rows of each in order of seq."""
    words: list[Argument] = [tail_wanted]
    for _, rows in records:
        words.append(len(rows))
        for row in rows:
            words += row
    names = [keys.wanted(shard), *(keys.record(shard, namespaced_id) for namespaced_id, _ in records)]
    return REPLAY(names, words)
