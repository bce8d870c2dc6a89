"""Whose an id is and when it was deleted, put back after Redis lost the end of its log, as the lake's rows say.

What a tombstone covers goes from the record, as it went when the tombstone was written; what it does not stays. Safe to
run again. The replay of rows comes after it, and leaves out what the tombstone covers.

    KEYS  record
    ARGV  tombstone (seq, receipt) or "", last unlink (the same) or "", owner field or "", recent entries, last field
"""

from __future__ import annotations

from typing import NamedTuple

from serving.store import keys
from serving.store.scripts.claim import Owner, owner_field
from serving.store.scripts.lua_copies import COPIES, REMEMBER
from serving.store.scripts.script import Command, Script
from serving.store.scripts.tombstones import GONE

RESTORE = Script(
    COPIES
    + REMEMBER
    + GONE
    + """
local key = KEYS[1]
revive(key)
local held = redis.call('HMGET', key, 's', 'd', 'l')
if ARGV[1] ~= '' and (not held[2] or struct.unpack('>I6', held[2]) < struct.unpack('>I6', ARGV[1])) then
  local seq, now = struct.unpack('>I6I6', ARGV[1])
  local kept = {}
  for at = 1, #ARGV[4], RECENT_BYTES do
    kept[string.sub(ARGV[4], at, at + 7)] = string.sub(ARGV[4], at, at + RECENT_BYTES - 1)
  end
  remembered(key, now, kept)
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    if #fields[i] >= 8 then
      local of, _, received = header(fields[i + 1])
      if of <= seq then
        local hash = string.sub(fields[i], 1, 8)
        if now - received < REPEAT_MS then kept[hash] = hash .. struct.pack('>I6I6', received, of) end
        redis.call('HDEL', key, fields[i])
      end
    end
  end
  if held[1] and cmsgpack.unpack(held[1])[3] < seq then redis.call('HDEL', key, 'b', 's') end
  redis.call('HSET', key, 'd', ARGV[1])
  remember(key, kept)
end
if ARGV[2] ~= '' then redis.call('HSET', key, 'u', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', key, 'o', ARGV[3]) else redis.call('HDEL', key, 'o') end
local last, mine = 0, struct.unpack('>I6', ARGV[5], 7)
if held[3] then last = struct.unpack('>I6', held[3], 7) end
if mine > last then redis.call('HSET', key, 'l', ARGV[5]) end
return 1
"""
)

#: Seq and receipt, UTC ms.
Position = tuple[int, int]


class Ownership(NamedTuple):
    """What the log says of an id beside its events: the last delete, the last unlink since, whose it is, the last entry
    of these; and the deleted events of the last 24 h, as `recent` has them."""

    id: str
    deleted: Position | None
    unlinked: Position | None
    owner: Owner | None
    last: Position
    recent: bytes = b""


def restore(shard: int, ownership: Ownership) -> Command:
    """Puts it back."""
    deleted, unlinked = _packed(ownership.deleted), _packed(ownership.unlinked)
    owner = owner_field(ownership.owner) if ownership.owner else b""
    last = _packed(ownership.last[::-1])
    return RESTORE([keys.record(shard, ownership.id)], [deleted, unlinked, owner, ownership.recent, last])


def _packed(position: Position | None) -> bytes:
    return b"" if position is None else position[0].to_bytes(6, "big") + position[1].to_bytes(6, "big")
