"""Claiming an id for another id, and giving it up. Log and record change together, or not at all.

The log of the claimed id's shard decides: an id without an owner takes the first claim; later claims change nothing. A
claim that changes nothing is not logged either, so a repeat is safe. An entry takes a seq like any event. It has no
place in the tail, since it adds nothing to an aggregate: it changes a field of the record.

A claim is made some time after the receipt of the event that says so (`since`). It is refused if the id was given up or
deleted since then, or in the very same millisecond: the later entry stands.

    KEYS  log, shard, ready, record
    ARGV  run_id, backlog_max, act ("link" | "unlink"), entry (log payload); of a link also owner, event_id, since
    reply "unready" | "full", or [1, seq] done | [0, owner field or ""] nothing to do: whose it is | [-1, 0] superseded
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.lua_log import LOG
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import RUN_ID, Key, script


class Claim(NamedTuple):
    """The KEYS and ARGV of the script."""

    log: Key
    shard: Key
    ready: Key
    record: Key
    run_id: str
    backlog_max: int
    act: Literal["link", "unlink"]
    entry: bytes
    owner: str | None = None
    event_id: str | None = None
    since: int | None = None


CLAIM = script(
    Claim,
    GONE,
    LOG,
    """
if redis.call('GET', ready) ~= run_id then return 'unready' end

local owner_field, unlinked, tombstone = unpack(redis.call('HMGET', record, OWNER, UNLINKED, TOMBSTONE))
local is_link = act == 'link'
local is_gone = false
if not owner_field and not unlinked and not tombstone then
  tombstone = gone_tombstone(record)
  is_gone = tombstone and true
end
if is_link and owner_field then return {0, owner_field} end
if not is_link and not owner_field then return {0, ''} end

if is_link then
  local unlinked_ms, deleted_ms, _ = -1, -1
  if unlinked then _, unlinked_ms = struct.unpack('>I6I6', unlinked) end
  if tombstone then _, deleted_ms = struct.unpack('>I6I6', tombstone) end
  if since <= math.max(unlinked_ms, deleted_ms) then return {-1, 0} end
end

local seq, last, drained = unpack(redis.call('HMGET', shard, SEQ, LAST_RECEIPT, DRAINED))
seq, last = tonumber(seq or 0), tonumber(last or 0)
if seq - tonumber(drained or 0) >= backlog_max then return 'full' end
local now = math.max(clock_ms(), last)
local now_text = string.format('%d', now)
seq = seq + 1
if is_gone then revive(record) end
append(log, seq, entry, now_text, now_text)
redis.call('HSET', record, LAST, struct.pack('>I6I6', now, seq))
if is_link then
  redis.call('HSET', record, OWNER, cmsgpack.pack({owner, seq, now, event_id}))
else
  redis.call('HDEL', record, OWNER)
  redis.call('HSET', record, UNLINKED, struct.pack('>I6I6', seq, now))
end
redis.call('HSET', shard, SEQ, seq, LAST_RECEIPT, now)
return {1, seq}
""",
)


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """The owner of an id: its namespaced id, seq and receipt (UTC ms) of the claim, and the event it came with."""

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
    """The outcome of a claim or an unlink: `is_done` with its seq, or the owner that the id has already.

    The owner is None where the claim is superseded, and of an unlink where the id was nobody's.
    """

    is_done: bool
    seq: int = 0
    owner: Owner | None = None


def link_command(
    shard: int, namespaced_id: str, entry: bytes, owner: str, event_id: str, since_ms: int, backlog_max: int
) -> Command:
    """Claims an id for an owner. `since_ms` is the receipt of the event that says so."""
    given = _given(shard, namespaced_id, "link", entry, backlog_max)
    return CLAIM(given._replace(owner=owner, event_id=event_id, since=since_ms))


def unlink_command(shard: int, namespaced_id: str, entry: bytes, backlog_max: int) -> Command:
    """Makes an id nobody's."""
    return CLAIM(_given(shard, namespaced_id, "unlink", entry, backlog_max))


def _given(shard: int, namespaced_id: str, act: Literal["link", "unlink"], entry: bytes, backlog_max: int) -> Claim:
    return Claim(
        log=keys.log(shard),
        shard=keys.shard(shard),
        ready=keys.ready(shard),
        record=keys.record(shard, namespaced_id),
        run_id=RUN_ID,
        backlog_max=backlog_max,
        act=act,
        entry=entry,
    )


def read(reply: Any) -> Claimed | str:
    """The outcome, or the word that the call was refused with."""
    if isinstance(reply, bytes):
        return reply.decode()
    verdict, answer = reply
    if verdict == 1:
        return Claimed(True, seq=answer)
    return Claimed(False, owner=owner_of(answer) if verdict == 0 else None)
