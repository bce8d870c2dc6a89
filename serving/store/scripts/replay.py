"""Putting lake rows back into records, after Redis lost the end of its log (an older backup, a promoted replica).

A row becomes the tail entry it was, under its own seq, unless its record's base covers it, a tombstone is newer, the
entry is there already, or it repeats one. (The log has repeats of imported events, of which a base may know nothing.)
So a replay that was cut off is simply run again, and a publish in between does no harm.

    KEYS  wanted, then a record each
    ARGV  tail_wanted, then per record: n, and n times (event hash, seq, ts, received, tail payload), by seq
    reply how many rows went in
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Argument, Command
from serving.store.scripts.lua_copies import COPIES
from serving.store.scripts.lua_stamps import STAMPS
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import Key, script

#: Rows of one call.
ROWS_MAX = 1_000


class Replay(NamedTuple):
    """The KEYS and ARGV of the script; more keys are the records, more arguments their rows."""

    wanted: Key
    tail_wanted: int


REPLAY = script(
    Replay,
    COPIES,
    GONE,
    STAMPS,
    """
local added = 0
local at = NAMED_ARGUMENTS  -- the last argument that was read
for k = NAMED_KEYS + 1, #KEYS do
  local record = KEYS[k]
  if redis.call('EXISTS', record) == 0 then revive(record) end
  local stamp, recent, last, tombstone = unpack(redis.call('HMGET', record, STAMP, RECENT, LAST, TOMBSTONE))
  local after = 0
  if stamp then
    local _, _, covered = unpacked_stamp(stamp)
    after = covered
  end
  if tombstone then after = math.max(after, (struct.unpack('>I6', tombstone))) end
  local last_received, last_seq = 0, 0
  if last then last_received, last_seq = struct.unpack('>I6I6', last) end

  local count = tonumber(ARGV[at + 1])
  at = at + 1
  for _ = 1, count do
    local hash, seq, ts, received, payload =
      ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
    at = at + 5
    local is_new = seq > after
    if is_new then
      local copied = remembered_copy(record, recent, recent_key, hash)
      if copied and is_recent(copied, received) then is_new = false end
    end
    if is_new then
      local entry = tail_entry(seq, ts, received, payload)
      local newest = redis.call('HGET', record, hash)
      local newest_seq, newest_received = 0, 0
      if newest then
        local number, _, came = header(newest)
        newest_seq, newest_received = number, came
      end
      if newest_seq < seq then
        if not newest or not is_recent(newest_received, received) then  -- else it repeats that one
          if newest then redis.call('HSET', record, older_field(hash, newest), newest) end
          redis.call('HSET', record, hash, entry)
          added = added + 1
        end
      elseif newest_seq > seq then
        added = added + redis.call('HSETNX', record, older_field(hash, entry), entry)
      end
    end
    last_received, last_seq = math.max(last_received, received), math.max(last_seq, seq)
  end
  redis.call('HSET', record, LAST, struct.pack('>I6I6', last_received, last_seq))
  if redis.call('HLEN', record) > tail_wanted then redis.call('HINCRBY', wanted, record, 1) end
end
return added
""",
)


class Row(NamedTuple):
    """One row of the lake, ready for its record."""

    event_hash: bytes
    seq: int
    ts_ms: int
    received_ms: int
    tail: bytes


def command(shard: int, records: Sequence[tuple[str, Sequence[Row]]], tail_wanted: int) -> Command:
    """The call for some ids of one shard, ids distinct, rows of each in order of seq, at most ROWS_MAX in all."""
    words: list[Argument] = []
    for _, rows in records:
        words.append(len(rows))
        for row in rows:
            words += row
    names = [keys.record(shard, namespaced_id) for namespaced_id, _ in records]
    return REPLAY(Replay(wanted=keys.wanted(shard), tail_wanted=tail_wanted), names, words)


def read(reply: Any) -> int:
    """How many rows went in."""
    return int(reply)
