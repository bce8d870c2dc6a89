"""Putting bases in place, in any order and any number of times.

Each record is taken or refused by itself. It is refused when it was deleted after the part of the log that the base
covers, or when it holds a base of the same or a later (V, build). Reruns, crashed runs and zombies are then harmless.
When it is taken, base, stamp and `recent` are set, and the tail entries go that the base covers: those of seq <= S, and
those whose event is among `recent` (an imported copy that the base counts already). What a delete took is kept apart
(`lua_copies`), so that a long `recent` costs the same whether or not the id was ever deleted.

A `recent` of a million events would hold Redis up, so beyond RECENT_SENT_BYTES_MAX it is not sent with the base. It was
written beside the record before, piece by piece (`scripts.stage`), and gets its place by its name in the step that sets
the base. A record that is refused drops what was written. Where pieces are gone, as on a server that was wiped
meanwhile, nothing is published.

    KEYS  a record each
    ARGV  version (V), build, covered (S), which ("every" | "held"),
          then per record: stamp, base, recent (in order, where it is long; its size in bytes, where it was staged)
    reply per record: 1 published | 0 older than what it holds | -1 deleted since | -2 holds no base |
          -3 pieces of its `recent` are gone

A complete rebuild ends with "held": an id that produced no row gets an empty base, if it has a base to replace. An id
without a base needs none, since the shard's own stamp stands for it. So a record that has nothing but the empty base of
an earlier sweep is deleted. Until then its stamp keeps out builds that began before that sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Literal, NamedTuple

from serving.store import keys, stamps
from serving.store.errors import ServerReplaced
from serving.store.layout import RECENT_INLINE_BYTES, in_order
from serving.store.requests import Argument, Command
from serving.store.scripts.lua_copies import COPIES
from serving.store.scripts.lua_staged import STAGED
from serving.store.scripts.lua_stamps import STAMPS
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import script
from serving.store.stamps import Stamp

#: Records of one call: enough to make the cost of a call small, few enough not to hold others up.
RECORDS_MAX = 64
#: A longer `recent` is not sent with its base: it is staged.
RECENT_SENT_BYTES_MAX = 64 * 1024


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
    STAGED,
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
  local fields = {}
  visit_tail(record, function(field, entry)
    local seq, _, received = header(entry)
    if seq <= covered then
      fields[#fields + 1] = field
    else
      local copied = copy_of(string.sub(field, 1, EVENT_HASH_BYTES))
      if copied and is_recent(copied, received) then fields[#fields + 1] = field end
    end
  end)
  return fields
end

-- the same look as remembered_copy, at what is being published
local function among(recent, staged, staged_bytes)
  if staged then
    local function entries_at(at, size) return redis.call('GETRANGE', staged, at, at + size - 1) end
    return function(hash) return copy_among_many(staged_bytes / RECENT_ENTRY_BYTES, entries_at, hash) end
  end
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
  -- no entry is as short as the size of a list that was staged
  local staged_bytes = #recent < RECENT_ENTRY_BYTES and tonumber(recent)
  local staged = staged_bytes and staged_key(record, version, build)
  local held_stamp, tombstone = unpack(redis.call('HMGET', record, STAMP, TOMBSTONE))
  local is_gone = false
  if which == 'every' and not held_stamp and not tombstone then
    tombstone = gone_tombstone(record)
    is_gone = tombstone and true
  end
  local answer = verdict(held_stamp, tombstone)
  if staged then
    if answer == 1 and redis.call('STRLEN', staged) ~= staged_bytes then answer = -3 end
    if answer ~= 1 then redis.call('DEL', staged) end
  end
  if answer == 1 and which == 'held' and is_nothing(record) then
    redis.call('DEL', record)
  elseif answer == 1 then
    if is_gone then revive(record) end
    local fields = counted(record, among(recent, staged, staged_bytes))  -- those that go
    if tombstone and not held_stamp then part_from_forgotten(record) end
    if staged then
      redis.call('RENAME', staged, recent_key(record))
      redis.call('PEXPIRE', recent_key(record), RECENT_TTL_MS)
      recent = APART
    elseif #recent > RECENT_INLINE_BYTES then
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
    UNSTAGED = -3


class BaseRecord(NamedTuple):
    """A base to publish for an id: its bytes, `recent` in any order, and the horizon of a heavy base, else 0."""

    id: str
    base: bytes
    recent: bytes = b""
    horizon_ms: int = 0


def command(shard: int, stamp: Stamp, records: Sequence[BaseRecord]) -> Command:
    """The call for some ids of one shard, at most RECORDS_MAX; what `is_staged` of them was staged before."""
    plain = stamps.encode(stamp)
    words: list[Argument] = []
    for record in records:
        words += (
            plain if record.horizon_ms == stamp.horizon_ms else stamps.encode(stamp.heavy(record.horizon_ms)),
            record.base,
            _sent(record.recent),
        )
    names = [keys.record(shard, record.id) for record in records]
    return PUBLISH(Publish(stamp.lake_version, stamp.build, stamp.seq, "every"), names, words)


def is_staged(record: BaseRecord) -> bool:
    """Whether a record's `recent` is so long that it must be staged before the record is published."""
    return len(record.recent) > RECENT_SENT_BYTES_MAX


def _sent(recent: bytes) -> Argument:
    if len(recent) > RECENT_SENT_BYTES_MAX:
        return len(recent)
    return recent if len(recent) <= RECENT_INLINE_BYTES else in_order(recent)


def sweep_command(shard: int, stamp: Stamp, ids: Sequence[str]) -> Command:
    """The call that empties the older bases among some ids of one shard, at most RECORDS_MAX."""
    words: list[Argument] = [stamps.encode(stamp), b"", b""] * len(ids)
    names = [keys.record(shard, namespaced_id) for namespaced_id in ids]
    return PUBLISH(Publish(stamp.lake_version, stamp.build, stamp.seq, "held"), names, words)


def read(reply: Any) -> list[Published]:
    """An outcome a record, in the order of the call. Raises `ServerReplaced` where pieces are gone."""
    outcomes = [Published(answer) for answer in reply]
    if Published.UNSTAGED in outcomes:
        raise ServerReplaced("what was written in pieces for a record is gone from Redis")
    return outcomes
