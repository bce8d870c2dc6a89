"""The ids that were claimed for an id: where a read looks for the rest of a person.

The list is a hint and may name too many: an id belongs to whom its own record names. It must not name too few, so an id
is put here before it is claimed, and taken out after it was given up.

    KEYS  record
    ARGV  "add", most, id …  |  "drop", id …
    reply of "add" per id: 1 it is there | 0 there is no room; of "drop": how many are left
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from serving.store import keys
from serving.store.scripts.script import Command, Script
from serving.store.scripts.tombstones import GONE

#: Ids that may belong to one id directly. Beyond it a link is refused.
MEMBERS_MAX = 20

MEMBERS = Script(
    GONE
    + """
local field = redis.call('HGET', KEYS[1], 'm')
local members = field and cmsgpack.unpack(field) or {}
local before = #members

local function place_of(id)
  for i, one in ipairs(members) do
    if one == id then return i end
  end
end

local answers = {}
if ARGV[1] == 'add' then
  if not field then revive(KEYS[1]) end
  for i = 3, #ARGV do
    if place_of(ARGV[i]) then
      answers[#answers + 1] = 1
    elseif #members < tonumber(ARGV[2]) then
      members[#members + 1] = ARGV[i]
      answers[#answers + 1] = 1
    else
      answers[#answers + 1] = 0
    end
  end
else
  for i = 2, #ARGV do
    local place = place_of(ARGV[i])
    if place then table.remove(members, place) end
  end
end
if #members == 0 then
  if field then redis.call('HDEL', KEYS[1], 'm') end
elseif #members ~= before then
  redis.call('HSET', KEYS[1], 'm', cmsgpack.pack(members))
end
return ARGV[1] == 'add' and answers or #members
"""
)

_decode = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def members_of(field: bytes | None) -> tuple[str, ...]:
    """The ids that a record's field names."""
    return _decode(field) if field else ()


def added(shard: int, namespaced_id: str, ids: Sequence[str]) -> Command:
    """Puts ids on the list of another."""
    return MEMBERS([keys.record(shard, namespaced_id)], ["add", MEMBERS_MAX, *ids])


def dropped(shard: int, namespaced_id: str, ids: Sequence[str]) -> Command:
    """Takes ids off the list."""
    return MEMBERS([keys.record(shard, namespaced_id)], ["drop", *ids])
