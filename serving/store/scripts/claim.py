"""Claiming an id for another id, and giving it up. Log and record change together, or not at all.

The log of the claimed id's shard decides: an id without an owner takes the first claim; later claims change nothing. A
claim that changes nothing is not logged either, so a repeat is safe. An entry takes a seq like any event. It has no
place in the tail, since it adds nothing to an aggregate: it changes a field of the record.

A claim is made some time after the receipt of the event that says so (`since`). It is refused if the id was given up or
deleted since then, or in the very same millisecond: the later entry stands. But where the clock went back behind that
entry, an event that was taken by the very call that claims (`is_first`) came later, whatever its receipt: its claim is
dated a millisecond after the entry. `since` is the time of the link's entry,
and is kept with the owner: a link is in force only while it is newer than the owner's last delete (`people.links`).

A link that was made in vain is taken back: of that link alone, by its seq. Its entry is an unlink of the link's own
time, so it takes back no claim that is newer.

    KEYS  log, shard, ready, record
    ARGV  run_id, backlog_max, act ("link" | "unlink" | "take back"), entry (log payload);
          of a link and of taking back also since, made (the link's seq, 0 of a link);
          of a link also owner, event_id, is_first (1 or 0)
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
    act: Literal["link", "unlink", "take back"]
    entry: bytes
    since: int | None = None
    made: int | None = None
    owner: str | None = None
    event_id: str | None = None
    is_first: int | None = None


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
if act == 'take back' then
  local _, link_seq, link_ms = unpack(cmsgpack.unpack(owner_field))
  if link_seq ~= made then return {0, owner_field} end
  since = math.max(since, link_ms)  -- the link may have been dated later than its caller knows
end

if is_link then
  local unlinked_ms, deleted_ms, _ = -1, -1
  if unlinked then _, unlinked_ms = struct.unpack('>I6I6', unlinked) end
  if tombstone then _, deleted_ms = struct.unpack('>I6I6', tombstone) end
  local ended_ms = math.max(unlinked_ms, deleted_ms)
  if since <= ended_ms then
    if is_first ~= 1 or ended_ms <= clock_ms() then return {-1, 0} end
    since = ended_ms + 1
  end
end

local seq, last, drained = unpack(redis.call('HMGET', shard, SEQ, LAST_RECEIPT, DRAINED))
seq, last = tonumber(seq or 0), tonumber(last or 0)
if seq - tonumber(drained or 0) >= backlog_max then return 'full' end
local now = receipt_ms(shard, last)
local said = since or now  -- the time of what is said
seq = seq + 1
if is_gone then revive(record) end
append(log, seq, entry, string.format('%d', said), string.format('%d', now))
redis.call('HSET', record, LAST, struct.pack('>I6I6', now, seq))
if is_link then
  redis.call('HSET', record, OWNER, cmsgpack.pack({owner, seq, said, event_id}))
else
  redis.call('HDEL', record, OWNER)
  redis.call('HSET', record, UNLINKED, struct.pack('>I6I6', seq, said))
end
redis.call('HSET', shard, SEQ, seq, LAST_RECEIPT, now)
return {1, seq}
""",
)


class Owner(msgspec.Struct, frozen=True, array_like=True):
    """The owner of an id: its namespaced id, the seq of the link, the event that claimed the id, and its receipt.

    `since_ms` is that receipt, UTC ms. The link is in force only if the owner's last delete is older.
    """

    id: str
    seq: int
    since_ms: int
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
    """The outcome of a claim, an unlink or of taking a link back: `is_done` with its seq, or the owner that the id has.

    The owner is None where the claim is superseded, and of an unlink where the id was nobody's.
    """

    is_done: bool
    seq: int = 0
    owner: Owner | None = None


def link_command(
    shard: int,
    namespaced_id: str,
    entry: bytes,
    owner: str,
    event_id: str,
    since_ms: int,
    is_first: bool,
    backlog_max: int,
) -> Command:
    """Claims an id for an owner. `since_ms` is the receipt of the event that says so.

    `is_first`: this very call took the event, and it is no repeat.
    """
    given = _given(shard, namespaced_id, "link", entry, backlog_max)
    return CLAIM(given._replace(since=since_ms, made=0, owner=owner, event_id=event_id, is_first=int(is_first)))


def unlink_command(shard: int, namespaced_id: str, entry: bytes, backlog_max: int) -> Command:
    """Makes an id nobody's."""
    return CLAIM(_given(shard, namespaced_id, "unlink", entry, backlog_max))


def take_back_command(
    shard: int, namespaced_id: str, entry: bytes, since_ms: int, link_seq: int, backlog_max: int
) -> Command:
    """Makes an id nobody's if its link is still the one of this seq, which was claimed at `since_ms`."""
    return CLAIM(_given(shard, namespaced_id, "take back", entry, backlog_max)._replace(since=since_ms, made=link_seq))


def _given(
    shard: int, namespaced_id: str, act: Literal["link", "unlink", "take back"], entry: bytes, backlog_max: int
) -> Claim:
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
