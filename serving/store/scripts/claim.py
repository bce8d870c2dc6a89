"""Whose an id is: claiming it for another id, and giving it up. Log and record change together, or not at all.

The log of the claimed id's shard decides: an id without an owner takes the first claim, later ones change nothing. So a
claim that changes nothing is not logged either, and a repeat is safe. An entry takes a seq like any event; it has no
place in the tail, since it adds nothing to an aggregate: what it changes is a field of the record.

A claim is made some time after the receipt of the event that says so (`since`). It is refused where the id was given up
or deleted since, or in the very same millisecond: what came after that event stands.

    KEYS  log, shard, ready, record
    ARGV  run_id, backlog_max, "link" | "unlink", log payload, then of a link: owner, event id, since
    reply "unready" | "full", or [1, seq] done | [0, owner field or ""] nothing to do: whose it is | [-1, 0] superseded
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from serving.store import keys
from serving.store.scripts.script import Argument, Command, Script
from serving.store.scripts.tombstones import GONE

CLAIM = Script(
    GONE
    + """
if redis.call('GET', KEYS[3]) ~= ARGV[1] then return 'unready' end

local held = redis.call('HMGET', KEYS[4], 'o', 'u', 'd')
local is_link = ARGV[3] == 'link'
local is_gone = false
if not held[1] and not held[2] and not held[3] then
  held[3] = gone_tombstone(KEYS[4])
  is_gone = held[3] and true
end
if is_link and held[1] then return {0, held[1]} end
if not is_link and not held[1] then return {0, ''} end
if is_link then
  for i = 2, 3 do
    if held[i] then
      local _, received = struct.unpack('>I6I6', held[i])
      if tonumber(ARGV[7]) <= received then return {-1, 0} end
    end
  end
end

local shard = redis.call('HMGET', KEYS[2], 'seq', 'last', 'drained')
local seq, last = tonumber(shard[1] or 0), tonumber(shard[2] or 0)
if seq - tonumber(shard[3] or 0) >= tonumber(ARGV[2]) then return 'full' end
local clock = redis.call('TIME')
local now = math.max(clock[1] * 1000 + math.floor(clock[2] / 1000), last)
local now_text = string.format('%d', now)
seq = seq + 1
if is_gone then revive(KEYS[4]) end
redis.call('XADD', KEYS[1], string.format('%d-0', seq), 'e', ARGV[4], 't', now_text, 'r', now_text)
redis.call('HSET', KEYS[4], 'l', struct.pack('>I6I6', now, seq))
if is_link then
  redis.call('HSET', KEYS[4], 'o', cmsgpack.pack({ARGV[5], seq, now, ARGV[6]}))
else
  redis.call('HDEL', KEYS[4], 'o')
  redis.call('HSET', KEYS[4], 'u', struct.pack('>I6I6', seq, now))
end
redis.call('HSET', KEYS[2], 'seq', seq, 'last', now)
return {1, seq}
"""
)


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """Whose an id is: the namespaced owner, seq and receipt (UTC ms) of the claim, and the event it came with."""

    id: str
    seq: int
    received_ms: int
    event_id: str


_decode = msgspec.msgpack.Decoder(Owner).decode
_encode = msgspec.msgpack.Encoder().encode


def owner_of(field: bytes | None) -> Owner | None:
    """The owner that a record's field names."""
    return _decode(field) if field else None


def owner_field(owner: Owner) -> bytes:
    """The field of a record that `owner_of` reads."""
    return _encode(owner)


class Claimed(NamedTuple):
    """What became of a claim: `is_done` with its seq; else whose the id is already, None where the claim is superseded
    (or, of an unlink, where the id was nobody's)."""

    is_done: bool
    seq: int = 0
    owner: Owner | None = None


def link(
    shard: int, namespaced_id: str, log: bytes, owner: str, event_id: str, since_ms: int, backlog_max: int
) -> Command:
    """Claims an id for an owner, if nothing took that back since the event of this receipt, which says so."""
    return _call(shard, namespaced_id, [backlog_max, "link", log, owner, event_id, since_ms])


def unlink(shard: int, namespaced_id: str, log: bytes, backlog_max: int) -> Command:
    """Makes an id nobody's."""
    return _call(shard, namespaced_id, [backlog_max, "unlink", log])


def _call(shard: int, namespaced_id: str, words: list[Argument]) -> Command:
    names = [keys.log(shard), keys.shard(shard), keys.ready(shard), keys.record(shard, namespaced_id)]
    return CLAIM(names, words, run_id_first=True)


def read(reply: Any) -> Claimed | str:
    """What the call did, or the word it was refused with."""
    if isinstance(reply, bytes):
        return reply.decode()
    verdict, found = reply
    if verdict == 1:
        return Claimed(True, seq=found)
    return Claimed(False, owner=owner_of(found) if verdict == 0 else None)
