"""The one way an event gets in: log and record change together, or not at all.

One call takes the events of one shard that came with one request, grouped by record. The whole call is refused, before
any write, in three cases: the shard was not recovered on this server; the caller projects or checks events by older
definitions than the shard's; the drain is too far behind. Else each event has an answer of its own: its seq; or that it
is a duplicate, with seq and receipt of the copy that counts; or that its id's tail is full.

A duplicate of an imported event that counts is logged all the same, and kept out of the tail, where it would count: it
is what counts once its import is undone. The answer is the one of any duplicate. While an import is being undone such
an event is not taken: the record may be rebuilt without the import, and without what came since.

    KEYS  log, shard, ready, wanted, then a record each
    ARGV  run_id, projection, checked (the version of the catalogue), tail_wanted, tail_max, backlog_max,
          then per record: n, its n event hashes, and n times (ts or "", log payload, tail payload)
    reply "unready" | "outdated" | "full",
          or [now, then per event: seq | [seq of the copy that counts, or 0: it was imported; its receipt] | "busy"]

At the bound of Redis' memory it is refused before its first write, and uses no reserve.

A redis.call costs more than all else here, so an event takes one (XADD) and a record three (HMGET, HLEN, HSET).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from serving.settings import Settings
from serving.store import keys
from serving.store.requests import Argument, Command
from serving.store.scripts.lua_copies import COPIES
from serving.store.scripts.lua_log import LOG
from serving.store.scripts.lua_tombstones import GONE
from serving.store.scripts.script import RUN_ID, Key, script

#: Events of one call; Lua can unpack some thousands of arguments, not more.
EVENTS_MAX = 1_000


class Ingest(NamedTuple):
    """The KEYS and ARGV of the script; more keys are the records, more arguments what came for them."""

    log: Key
    shard: Key
    ready: Key
    wanted: Key
    run_id: str
    projection: int
    checked: int
    tail_wanted: int
    tail_max: int
    backlog_max: int


INGEST = script(
    Ingest,
    COPIES,
    GONE,
    LOG,
    """
if redis.call('GET', ready) ~= run_id then return 'unready' end

local seq, last, least_projection, least_checked, drained, undoing =
  unpack(redis.call('HMGET', shard, SEQ, LAST_RECEIPT, PROJECTION, CHECKED, DRAINED, UNDOING))
seq, last = tonumber(seq or 0), tonumber(last or 0)
if projection < tonumber(least_projection or 0) or checked < tonumber(least_checked or 0) then return 'outdated' end
if seq - tonumber(drained or 0) >= backlog_max then return 'full' end

local now = receipt_ms(shard, last)
local now_text = string.format('%d', now)

local first_seq = seq
local answers = {now}
local at = NAMED_ARGUMENTS  -- the last argument that was read
for k = NAMED_KEYS + 1, #KEYS do
  local record = KEYS[k]
  local count = tonumber(ARGV[at + 1])
  local hashes, bodies = at + 1, at + 1 + count  -- the arguments before the hashes, and before what each event has
  at = bodies + 3 * count
  local fields = redis.call('HMGET', record, STAMP, RECENT, FORGOTTEN, unpack(ARGV, hashes + 1, hashes + count))
  local stamp, recent, forgotten = fields[1], fields[2], fields[3]
  local entries = 3  -- behind these stands the tail entry of each hash, if any
  -- The tail is all fields but base and stamp, `recent`, and the last receipt. Owner, members, tombstone, last unlink
  -- and `forgotten` are not worth a look: a bound may be off by five.
  local field_count = redis.call('HLEN', record)
  local is_gone = false
  if field_count == 0 then
    forgotten = gone_forgotten(record)
    is_gone = forgotten and true
  end
  local before = math.max(field_count - (stamp and 2 or 0) - (recent and 1 or 0) - 1, 0)
  local tail = before
  local refused = false
  local written = {}
  local kept = {}  -- duplicates of imported events that this call logged
  local changes = {}

  for i = 1, count do
    local hash, entry = ARGV[hashes + i], fields[entries + i]
    local copy, came = written[hash], now
    if entry and not copy then
      local entry_seq, _, received = header(entry)
      if is_recent(received, now) then copy, came = entry_seq, received end
    end
    if not copy then
      local received, covered_seq = remembered_copy(record, recent, recent_key, hash)
      if received and is_recent(received, now) then copy, came = covered_seq, received end
    end
    local is_imported = copy == 0
    if forgotten and not copy then
      local key_of = is_gone and gone_forgotten_key or forgotten_key
      local received, deleted_seq = remembered_copy(record, forgotten, key_of, hash)
      if received and is_recent(received, now) then copy, came = deleted_seq, received end
    end

    local body = bodies + 3 * (i - 1)
    local client_ts, log_payload, tail_payload = ARGV[body + 1], ARGV[body + 2], ARGV[body + 3]
    local ts, ts_text = now, now_text
    if client_ts ~= '' and tonumber(client_ts) < now then
      ts, ts_text = tonumber(client_ts), client_ts
    end
    if is_imported and undoing then
      answers[#answers + 1] = 'busy'
    elseif copy then
      if is_imported and not kept[hash] then
        seq = seq + 1
        append(log, seq, log_payload, ts_text, now_text)
        kept[hash] = true
      end
      answers[#answers + 1] = {copy, came}
    elseif tail >= tail_max then
      answers[#answers + 1] = 'busy'
      refused = true
    else
      seq = seq + 1
      append(log, seq, log_payload, ts_text, now_text)
      if entry then  -- a copy of a day ago: this is a new event beside it
        changes[#changes + 1] = older_field(hash, entry)
        changes[#changes + 1] = entry
      end
      changes[#changes + 1] = hash
      changes[#changes + 1] = tail_entry(seq, ts, now, tail_payload)
      written[hash] = seq
      tail = tail + 1
      answers[#answers + 1] = seq
    end
  end

  if tail > before then
    if is_gone then revive(record) end
    redis.call('HSET', record, LAST, struct.pack('>I6I6', now, seq), unpack(changes))
  end
  -- A rebuild is asked for once each time the tail grows by as much again, not at every event. It is asked for again
  -- while the tail is full, since an earlier rebuild may have read a lake that the drain had not brought its events to.
  if refused or math.floor(tail / (tail_wanted + 1)) > math.floor(before / (tail_wanted + 1)) then
    redis.call('HINCRBY', wanted, record, 1)
  end
end

if seq > first_seq then redis.call('HSET', shard, SEQ, seq, LAST_RECEIPT, now) end
return answers
""",
    uses_reserve=False,
)


@dataclass(frozen=True)
class TailLimits:
    """How far things may grow.

    Beyond `tail_wanted` tail entries of an id a rebuild of it is asked for; beyond `tail_max` its events get 429.
    Beyond `backlog_max` undrained events of a shard all events of the shard get 429.
    """

    tail_wanted: int = 1_000
    tail_max: int = 20_000
    backlog_max: int = 250_000

    @classmethod
    def of(cls, settings: Settings) -> TailLimits:
        """The limits of one shard; settings name the backlog of all shards together."""
        return cls(
            tail_wanted=settings.tail_wanted_entries,
            tail_max=settings.tail_entries_max,
            backlog_max=max(1, settings.backlog_entries_max // settings.shards),
        )


class Packed(NamedTuple):
    """An event ready for the script: its hash, the client's time in ms or None, its log payload, its tail payload."""

    event_hash: bytes
    ts_ms: int | None
    log: bytes
    tail: bytes


def command(
    shard: int, records: Sequence[tuple[str, Sequence[Packed]]], projection: int, checked: int, limits: TailLimits
) -> Command:
    """The call for one shard: (namespaced id, its events) for each record, ids distinct, at most EVENTS_MAX events."""
    words: list[Argument] = []
    for _, events in records:
        words.append(len(events))
        words.extend([event.event_hash for event in events])
        for _, ts_ms, entry, tail in events:
            words += ("" if ts_ms is None else ts_ms, entry, tail)
    given = Ingest(
        log=keys.log(shard),
        shard=keys.shard(shard),
        ready=keys.ready(shard),
        wanted=keys.wanted(shard),
        run_id=RUN_ID,
        projection=projection,
        checked=checked,
        tail_wanted=limits.tail_wanted,
        tail_max=limits.tail_max,
        backlog_max=limits.backlog_max,
    )
    return INGEST(given, [keys.record(shard, namespaced_id) for namespaced_id, _ in records], words)


class Outcome(NamedTuple):
    """The outcome of one event. A duplicate has the seq of the copy that counts, None when that was imported.

    `busy`: it was not taken, and may pass later: its id has more events than the batch has covered, or it is a copy of
    an imported event while an import is being undone.
    """

    seq: int | None
    duplicate: bool = False
    busy: bool = False


class Ingested(NamedTuple):
    """The receipt in ms, and an outcome and a receipt an event, in the order of the call.

    `came_ms` has the receipt of the copy that counts.
    """

    received_ms: int
    outcomes: list[Outcome]
    came_ms: list[int]


def read(reply: Any) -> Ingested | str:
    """The outcomes of the call, or the word that it was refused with."""
    if isinstance(reply, bytes):
        return reply.decode()
    received_ms, *answers = reply
    came_ms = [answer[1] if isinstance(answer, list) else received_ms for answer in answers]
    return Ingested(received_ms, [_outcome(answer) for answer in answers], came_ms)


def _outcome(answer: int | bytes | list[int]) -> Outcome:
    match answer:
        case int():
            return Outcome(answer)
        case bytes():
            return Outcome(None, busy=True)
        case [seq, _]:
            return Outcome(seq or None, duplicate=True)
    raise AssertionError(f"ingest answered {answer!r}")
