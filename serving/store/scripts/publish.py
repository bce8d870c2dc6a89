"""Putting bases in place, in any order and any number of times.

Each record is taken or refused by itself. It is refused when it was deleted after the part of the log that the base
covers, or when it holds a base of the same or a later (V, build). Reruns, crashed runs and zombies are then harmless.
When it is taken, base, stamp and `recent` are set, and the tail entries go that the base covers: those of seq <= S, and
those whose event is among `recent` (an imported copy that the base counts already). What a delete took is kept apart
(`lua_copies`), so that a long `recent` costs the same whether or not the id was ever deleted.

    KEYS  a record each
    ARGV  version (V), build, covered (S), which ("every" | "held"),
          then per record: stamp, base, recent (in order, where it is long)
    reply per record: 1 published | 0 older than what it holds | -1 deleted since | -2 holds no base

A complete rebuild ends with "held": an id that produced no row gets an empty base, if it has a base to replace. An id
without a base needs none, since the shard's own stamp stands for it. So a record that has nothing but the empty base of
an earlier sweep is deleted. Until then its stamp keeps out builds that began before that sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Literal, NamedTuple

from serving.store import keys, stamps
from serving.store.layout import RECENT_INLINE_BYTES, in_order
from serving.store.requests import Argument, Command
from serving.store.scripts.lua_copies import COPIES
from serving.store.scripts.lua_stamps import STAMPS
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import script
from serving.store.stamps import Stamp

#: Records of one call: enough to make the cost of a call small, few enough not to hold others up.
RECORDS_MAX = 64


class Publish(NamedTuple):
    """The KEYS and ARGV of the script; more keys are the records, more arguments what is published for them."""

    version: int
    build: int
    covered: int
    which: Literal["every", "held"]


PUBLISH = script(
    Publish,
    COPIES,
    GONE,
    STAMPS,
    """
local function verdict(held_stamp, tombstone)
  if tombstone and struct.unpack('>I6', tombstone) > covered then return -1 end
  if held_stamp then
    local held_version, held_build = unpacked_stamp(held_stamp)
    if version < held_version or (version == held_version and build <= held_build) then return 0 end
  elseif which == 'held' then
    return -2
  end
  return 1
end

-- the fields of tail entries that a base counts, whose `recent` has the copies of `copy_of`
local function counted(record, copy_of)
  local tail, fields = {}, {}
  for _, field in ipairs(redis.call('HKEYS', record)) do
    if #field >= TAIL_FIELD_BYTES_MIN then tail[#tail + 1] = field end
  end
  for from = 1, #tail, 1000 do
    local entries = redis.call('HMGET', record, unpack(tail, from, math.min(from + 999, #tail)))
    for i, entry in ipairs(entries) do
      local field = tail[from + i - 1]
      local seq, _, received = header(entry)
      if seq <= covered then
        fields[#fields + 1] = field
      else
        local copied = copy_of(string.sub(field, 1, EVENT_HASH_BYTES))
        if copied and is_recent(copied, received) then fields[#fields + 1] = field end
      end
    end
  end
  return fields
end

-- the same look as remembered_copy, at what is being published
local function among(recent)
  if #recent <= RECENT_INLINE_BYTES then
    return function(hash) return copy_among_few(recent, hash) end
  end
  local function entries_at(at, size) return string.sub(recent, at + 1, at + size) end
  return function(hash) return copy_among_many(#recent / RECENT_ENTRY_BYTES, entries_at, hash) end
end

-- Moves what an older version of this store kept of a deleted record's events to where it belongs.
local function part_from_forgotten(record)
  local recent = redis.call('HGET', record, RECENT)
  if not recent or redis.call('HEXISTS', record, FORGOTTEN) == 1 then return end
  if recent == APART and redis.call('EXISTS', recent_key(record)) == 1 then
    redis.call('RENAME', recent_key(record), forgotten_key(record))
  end
  redis.call('HSET', record, FORGOTTEN, recent)
end

-- whether base, stamp and last receipt are all there is, and the base is empty
local function is_nothing(record)
  local base, last = unpack(redis.call('HMGET', record, BASE, LAST))
  return base == '' and redis.call('HLEN', record) == (last and 3 or 2)
end

local answers = {}
local at = NAMED_ARGUMENTS  -- the last argument that was read
for k = NAMED_KEYS + 1, #KEYS do
  local record = KEYS[k]
  local stamp, base, recent = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  at = at + 3
  local held_stamp, tombstone = unpack(redis.call('HMGET', record, STAMP, TOMBSTONE))
  local is_gone = false
  if which == 'every' and not held_stamp and not tombstone then
    tombstone = gone_tombstone(record)
    is_gone = tombstone and true
  end
  local answer = verdict(held_stamp, tombstone)
  if answer == 1 and which == 'held' and is_nothing(record) then
    redis.call('DEL', record)
  elseif answer == 1 then
    if is_gone then revive(record) end
    local fields = counted(record, among(recent))  -- those that go
    if tombstone and not held_stamp then part_from_forgotten(record) end
    if #recent > RECENT_INLINE_BYTES then
      redis.call('SET', recent_key(record), recent, 'PX', RECENT_TTL_MS)
      recent = APART
    elseif held_stamp and redis.call('HGET', record, RECENT) == APART then
      redis.call('DEL', recent_key(record))
    end
    if recent == '' then
      fields[#fields + 1] = RECENT
      redis.call('HSET', record, BASE, base, STAMP, stamp)
    else
      redis.call('HSET', record, BASE, base, STAMP, stamp, RECENT, recent)
    end
    for from = 1, #fields, 1000 do
      redis.call('HDEL', record, unpack(fields, from, math.min(from + 999, #fields)))
    end
  end
  answers[#answers + 1] = answer
end
return answers
""",
)


class Published(IntEnum):
    """The outcome of one record."""

    DONE = 1
    OLDER = 0
    DELETED = -1
    WITHOUT_BASE = -2


class BaseRecord(NamedTuple):
    """A base to publish for an id: its bytes, `recent` in any order, and the horizon of a heavy base, else 0."""

    id: str
    base: bytes
    recent: bytes = b""
    horizon_ms: int = 0


def command(shard: int, stamp: Stamp, records: Sequence[BaseRecord]) -> Command:
    """The call for some ids of one shard, at most RECORDS_MAX."""
    plain = stamps.encode(stamp)
    words: list[Argument] = []
    for _, base, recent, horizon_ms in records:
        words += (
            plain if horizon_ms == stamp.horizon_ms else stamps.encode(stamp.heavy(horizon_ms)),
            base,
            recent if len(recent) <= RECENT_INLINE_BYTES else in_order(recent),
        )
    names = [keys.record(shard, record.id) for record in records]
    return PUBLISH(Publish(stamp.lake_version, stamp.build, stamp.seq, "every"), names, words)


def sweep_command(shard: int, stamp: Stamp, ids: Sequence[str]) -> Command:
    """The call that empties the older bases among some ids of one shard, at most RECORDS_MAX."""
    words: list[Argument] = [stamps.encode(stamp), b"", b""] * len(ids)
    names = [keys.record(shard, namespaced_id) for namespaced_id in ids]
    return PUBLISH(Publish(stamp.lake_version, stamp.build, stamp.seq, "held"), names, words)


def read(reply: Any) -> list[Published]:
    """An outcome a record, in the order of the call."""
    return [Published(answer) for answer in reply]
