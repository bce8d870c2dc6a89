"""Whose an id is and when it was deleted, put back after Redis lost the end of its log, as the lake's rows say.

The record loses what the tombstone covers, as it did when the tombstone was written, and keeps the rest. It is safe to
run this again. The replay of rows comes after it, and leaves out what the tombstone covers.

    KEYS  record
    ARGV  tombstone (seq, receipt) or "", unlinked (the same of an unlink) or "", owner field or "",
          deleted (entries of `recent`), last field
    reply 1
"""

from __future__ import annotations

from typing import NamedTuple

from serving.store import keys, positions
from serving.store.requests import Command
from serving.store.scripts.claim import Owner, owner_field
from serving.store.scripts.lua_copies import COPIES, REMEMBER
from serving.store.scripts.lua_stamps import STAMPS
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import Key, script


class Restore(NamedTuple):
    """The KEYS and ARGV of the script."""

    record: Key
    tombstone: bytes
    unlinked: bytes
    owner: bytes
    deleted: bytes
    last: bytes


RESTORE = script(
    Restore,
    COPIES,
    REMEMBER,
    GONE,
    STAMPS,
    """
revive(record)
local held_stamp, held_tombstone, held_last = unpack(redis.call('HMGET', record, STAMP, TOMBSTONE, LAST))
local seq, now, held_seq
if tombstone ~= '' then seq, now = struct.unpack('>I6I6', tombstone) end
if held_tombstone then held_seq = struct.unpack('>I6', held_tombstone) end
if seq and (not held_seq or held_seq < seq) then
  local kept = {}
  keep_entries(kept, deleted)
  keep_remembered(kept, record, now)
  visit_tail(record, function(field, entry)
    if header(entry) <= seq then
      keep_tail_entry(kept, field, entry, now)
      redis.call('HDEL', record, field)
    end
  end)
  if held_stamp then
    local _, _, covered = unpacked_stamp(held_stamp)
    if covered < seq then
      redis.call('HDEL', record, BASE, STAMP, RECENT)
      redis.call('DEL', recent_key(record))
    end
  end
  redis.call('HSET', record, TOMBSTONE, tombstone)
  remember_forgotten(record, kept)
end
if unlinked ~= '' then redis.call('HSET', record, UNLINKED, unlinked) end
if owner ~= '' then redis.call('HSET', record, OWNER, owner) else redis.call('HDEL', record, OWNER) end
local _, last_seq = struct.unpack('>I6I6', last)
local held_last_seq = 0
if held_last then _, held_last_seq = struct.unpack('>I6I6', held_last) end
if last_seq > held_last_seq then redis.call('HSET', record, LAST, last) end
return 1
""",
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


def command(shard: int, ownership: Ownership) -> Command:
    """Puts it back."""
    return RESTORE(
        Restore(
            record=keys.record(shard, ownership.id),
            tombstone=_encoded(ownership.deleted),
            unlinked=_encoded(ownership.unlinked),
            owner=owner_field(ownership.owner) if ownership.owner else b"",
            deleted=ownership.recent,
            last=_encoded(ownership.last[::-1]),
        )
    )


def _encoded(position: Position | None) -> bytes:
    return b"" if position is None else positions.encode(*position)
