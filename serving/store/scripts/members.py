"""The ids that were claimed for an id: where a read looks for the rest of a person.

The list is a hint and may name too many ids: the owner of an id is in the id's own record. It must not name too few, so
an id is put here before it is claimed, and taken out after it was given up.

    KEYS  record
    ARGV  act ("add" | "drop"), then of "add": most ids there may be, id …; of "drop": id …
    reply of "add" per id: 1 it is there | 0 there is no room; of "drop": how many are left
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import Key, script

#: Ids that may belong to one id directly. Beyond it a link is refused.
MEMBERS_MAX = 20
#: More than a list ever has: for ids that are linked already, whose place was given away meanwhile.
ANY_NUMBER = 2**31


class Members(NamedTuple):
    """The KEYS and ARGV of the script; more arguments are those of the act."""

    record: Key
    act: Literal["add", "drop"]


MEMBERS = script(
    Members,
    GONE,
    """
local field = redis.call('HGET', record, MEMBERS)
local members = field and cmsgpack.unpack(field) or {}
local before = #members

local function place_of(id)
  for place, member in ipairs(members) do
    if member == id then return place end
  end
end

local at = NAMED_ARGUMENTS  -- the last argument that was read
local answers = {}
if act == 'add' then
  if not field then revive(record) end
  local most = tonumber(ARGV[at + 1])
  at = at + 1
  for i = at + 1, #ARGV do
    local id = ARGV[i]
    if place_of(id) then
      answers[#answers + 1] = 1
    elseif #members < most then
      members[#members + 1] = id
      answers[#answers + 1] = 1
    else
      answers[#answers + 1] = 0
    end
  end
else
  for i = at + 1, #ARGV do
    local place = place_of(ARGV[i])
    if place then table.remove(members, place) end
  end
end
if #members == 0 then
  if field then redis.call('HDEL', record, MEMBERS) end
elseif #members ~= before then
  redis.call('HSET', record, MEMBERS, cmsgpack.pack(members))
end
return act == 'add' and answers or #members
""",
)

_decode = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def members_of(field: bytes | None) -> tuple[str, ...]:
    """The ids that a record's field names."""
    return _decode(field) if field else ()


def add_command(shard: int, namespaced_id: str, ids: Sequence[str], most: int = MEMBERS_MAX) -> Command:
    """Puts ids on the list of another, as long as it has fewer than `most`."""
    return MEMBERS(Members(keys.record(shard, namespaced_id), "add"), more_arguments=[most, *ids])


def drop_command(shard: int, namespaced_id: str, ids: Sequence[str]) -> Command:
    """Takes ids off the list."""
    return MEMBERS(Members(keys.record(shard, namespaced_id), "drop"), more_arguments=ids)


def read_added(reply: Sequence[int]) -> list[bool]:
    """Whether each id is on the list, in the order of the call."""
    return [bool(answer) for answer in reply]
