"""Lua that scripts share: how a tail entry is laid out, and which copy of an event a record holds already.

The covered events of the last 24 h (`recent`) are entries of 20 bytes. A few stand in the record. Many would make each
read and each event of a busy id pay for all of them, so beyond RECENT_INLINE_BYTES they are a string of their own, in
order of the hash, of which a look reads a block or two, and the record only says that it is there (`layout`).

The events of the last 24 h that a delete took (`forgotten`) are laid out alike, and kept apart from these: a delete
writes them, and no publish touches them, so that a base's `recent` is written as it comes, however long either is. What
the record says of a long `forgotten` may have entries behind it, in any order: newer ones, which count before those of
the list. So a delete gives a long list another name, and writes what else it takes; it copies no million entries.
"""

from __future__ import annotations

from serving.store.scripts.script import with_constants

COPIES = with_constants(
    """
-- whether a copy of this receipt still makes one that comes now a repeat
local function is_recent(received, now)
  return now - received < REPEAT_MS
end

-- seq, ts and receipt of a tail entry
local function header(entry)
  return struct.unpack('>I6i6I6', entry)
end

local function tail_entry(seq, ts, received, payload)
  return struct.pack('>I6i6I6', seq, ts, received) .. payload
end

-- Calls `visit` with the field and the value of each tail entry of a record. Lua finds equal strings by a hash of some
-- letters. Entries of a burst are alike but for letters that it may skip, so each would be compared with all before:
-- 20,000 took a second. So those that were visited are given up before the next ones are read.
local function visit_tail(record, visit)
  local tail = {}
  for _, field in ipairs(redis.call('HKEYS', record)) do
    if #field >= TAIL_FIELD_BYTES_MIN then tail[#tail + 1] = field end
  end
  for from = 1, #tail, TAIL_VISITED_AT_ONCE do
    if from > 1 then pcall(function() collectgarbage() end) end  -- a server may forbid it
    local entries = redis.call('HMGET', record, unpack(tail, from, math.min(from + TAIL_VISITED_AT_ONCE - 1, #tail)))
    for i, entry in ipairs(entries) do visit(tail[from + i - 1], entry) end
  end
end

-- The newest copy of an event stands under its hash, and only it decides what a repeat is; an older one moves here.
local function older_field(hash, entry)
  return hash .. string.sub(entry, 1, 6)
end

-- the keys of a long `recent` and of a long `forgotten`, from the key of their record
local function recent_key(record)
  return RECENT_PREFIX .. string.sub(record, #RECORD_PREFIX + 1)
end

local function forgotten_key(record)
  return FORGOTTEN_PREFIX .. string.sub(record, #RECORD_PREFIX + 1)
end

-- whether what a record says of `recent` or `forgotten` tells of a list in a key of its own
local function is_apart(entries)
  return #entries % RECENT_ENTRY_BYTES == 1
end

-- Receipt and seq of a hash among a few entries, in any order; nil when it is not there. A hash may be found across two
-- entries, so only an aligned find counts. The entries stand behind `before` bytes.
local function copy_among_few(recent, hash, before)
  local first = 1 + (before or 0)
  local from = first
  while true do
    local at = string.find(recent, hash, from, true)
    if not at then return nil end
    if (at - first) % RECENT_ENTRY_BYTES == 0 then return struct.unpack('>I6I6', recent, at + EVENT_HASH_BYTES) end
    from = at + 1
  end
end

-- The same among many, in order of the hash. Hashes are evenly spread, so where one stands is guessed from what it is:
-- nearly always it is in the first or second block that is read. A client that made its ids up gets no more than a
-- bisection. Hashes are compared as two numbers, since Lua orders strings by the locale.
local function copy_among_many(count, entries_at, hash)
  local high, low = struct.unpack('>I4I4', hash)
  local first, last = 0, count - 1
  local least, most = 0, 4294967296
  local guesses = 0
  while first <= last do
    local share = guesses < RECENT_GUESSES_MAX and (high - least) / (most - least) or 0.5
    guesses = guesses + 1
    local at = first + math.floor(share * (last - first + 1) - RECENT_BLOCK / 2)
    at = math.max(first, math.min(at, last - RECENT_BLOCK + 1))
    local size = math.min(RECENT_BLOCK, last - at + 1)
    local block = entries_at(at * RECENT_ENTRY_BYTES, size * RECENT_ENTRY_BYTES)
    local least_high, least_low = struct.unpack('>I4I4', block)
    local most_high, most_low = struct.unpack('>I4I4', block, (size - 1) * RECENT_ENTRY_BYTES + 1)
    if high < least_high or (high == least_high and low < least_low) then
      last, most = at - 1, least_high + 1
    elseif high > most_high or (high == most_high and low > most_low) then
      first, least = at + size, most_high
    else
      return copy_among_few(block, hash)
    end
  end
end

-- Receipt and seq of an event that a record remembers; nil when it is not among these entries: its `recent` or its
-- `forgotten`, whose key is `key_of(record)` where it is long.
local function remembered_copy(record, entries, key_of, hash)
  if not entries then return nil end
  if not is_apart(entries) then return copy_among_few(entries, hash) end
  local received, seq = copy_among_few(entries, hash, 1)
  if received then return received, seq end
  local key = key_of(record)
  return copy_among_many(redis.call('STRLEN', key) / RECENT_ENTRY_BYTES, function(at, size)
    return redis.call('GETRANGE', key, at, at + size - 1)
  end, hash)
end
"""
)

REMEMBER = with_constants(
    """
-- Puts entries of `recent` into `kept`, which maps hashes to entries: all of them, or with a `now` those of the last
-- 24 h.
local function keep_entries(kept, recent, now)
  for at = 1, #recent, RECENT_ENTRY_BYTES do
    local entry = string.sub(recent, at, at + RECENT_ENTRY_BYTES - 1)
    local received = struct.unpack('>I6', entry, EVENT_HASH_BYTES + 1)
    if not now or is_recent(received, now) then
      kept[string.sub(entry, 1, EVENT_HASH_BYTES)] = entry
    end
  end
end

-- Puts what a record remembers of the last 24 h into `kept`: what its base covers, and what was deleted.
local function keep_remembered(kept, record, now)
  local recent, forgotten = unpack(redis.call('HMGET', record, RECENT, FORGOTTEN))
  recent, forgotten = recent or '', forgotten or ''
  if is_apart(forgotten) then
    keep_entries(kept, redis.call('GET', forgotten_key(record)) or '', now)
    forgotten = string.sub(forgotten, 2)
  end
  if is_apart(recent) then recent = redis.call('GET', recent_key(record)) or '' end
  keep_entries(kept, forgotten, now)
  keep_entries(kept, recent, now)
end

-- Puts what a record remembers of the last 24 h into `kept`, but for one long list, if there is any: what was deleted
-- before, or else what the base covers. That one stands where `forgotten` has its list, and stays as it is, with old
-- entries too, since a look at one sees how old it is. Of an event that is in both, what the base covers stands. Where
-- both are long, the longer one is returned: it must be written anew, and this costs as much as the shorter one.
local function keep_all_but_the_longest(kept, record, now)
  local recent, forgotten = unpack(redis.call('HMGET', record, RECENT, FORGOTTEN))
  recent, forgotten = recent or '', forgotten or ''
  local own, apart = recent_key(record), forgotten_key(record)
  local is_long, was_long = is_apart(recent), is_apart(forgotten)
  if was_long then forgotten = string.sub(forgotten, 2) end
  is_long = is_long and redis.call('EXISTS', own) == 1
  was_long = was_long and redis.call('EXISTS', apart) == 1
  keep_entries(kept, forgotten, now)
  if is_long and was_long then
    local covered, deleted = redis.call('GET', own), redis.call('GET', apart)
    if #covered < #deleted then
      keep_entries(kept, covered, now)
      return deleted
    end
    keep_entries(kept, deleted, now)
    keep_entries(kept, forgotten, now)  -- these are newer
    local function entries_at(at, size) return string.sub(covered, at + 1, at + size) end
    for hash in pairs(kept) do
      if copy_among_many(#covered / RECENT_ENTRY_BYTES, entries_at, hash) then kept[hash] = nil end
    end
    return covered
  elseif is_long then
    local count = redis.call('STRLEN', own) / RECENT_ENTRY_BYTES
    local function entries_at(at, size) return redis.call('GETRANGE', own, at, at + size - 1) end
    for hash in pairs(kept) do
      if copy_among_many(count, entries_at, hash) then kept[hash] = nil end
    end
    redis.call('RENAME', own, apart)
  elseif not is_apart(recent) then
    keep_entries(kept, recent, now)
  end
  return nil
end

-- Puts the event of a tail entry into `kept`, if it is of the last 24 h.
local function keep_tail_entry(kept, field, entry, now)
  local seq, _, received = header(entry)
  local hash = string.sub(field, 1, EVENT_HASH_BYTES)
  if is_recent(received, now) then kept[hash] = hash .. struct.pack('>I6I6', received, seq) end
end

-- The entries of `kept` in order of the hash, as numbers, since Lua orders strings by the locale.
local function entries_of(kept)
  local hashes = {}
  for hash in pairs(kept) do
    local high, low = struct.unpack('>I4I4', hash)
    hashes[#hashes + 1] = {high = high, low = low, text = hash}
  end
  table.sort(hashes, function(a, b)
    if a.high ~= b.high then return a.high < b.high end
    return a.low < b.low
  end)
  local entries = {}
  for i, hash in ipairs(hashes) do entries[i] = kept[hash.text] end
  return entries
end

-- A long list with some more entries in their places, each instead of one of the same hash. Both are in order. The long
-- one is not taken apart, so this costs as much as the entries and a copy.
local function with_entries(long, entries)
  local count, from, parts = #long / RECENT_ENTRY_BYTES, 0, {}
  for _, entry in ipairs(entries) do
    local high, low = struct.unpack('>I4I4', entry)
    local first, last = from, count
    while first < last do
      local at = math.floor((first + last) / 2)
      local at_high, at_low = struct.unpack('>I4I4', long, at * RECENT_ENTRY_BYTES + 1)
      if at_high < high or (at_high == high and at_low < low) then first = at + 1 else last = at end
    end
    parts[#parts + 1] = string.sub(long, from * RECENT_ENTRY_BYTES + 1, first * RECENT_ENTRY_BYTES)
    parts[#parts + 1] = entry
    from = first
    if first < count then
      local at_high, at_low = struct.unpack('>I4I4', long, first * RECENT_ENTRY_BYTES + 1)
      if at_high == high and at_low == low then from = first + 1 end
    end
  end
  parts[#parts + 1] = string.sub(long, from * RECENT_ENTRY_BYTES + 1)
  return table.concat(parts)
end

-- Makes `kept` what a record has forgotten, together with `long`, entries in order, where there are any; else with the
-- list that stands where `forgotten` has its own, if there is any.
local function remember_forgotten(record, kept, long)
  local key = forgotten_key(record)
  if not long and redis.call('EXISTS', key) == 1 then
    local beside = {}
    for _, entry in pairs(kept) do beside[#beside + 1] = entry end
    if #beside * RECENT_ENTRY_BYTES <= FORGOTTEN_BESIDE_BYTES_MAX then
      redis.call('PEXPIRE', key, RECENT_TTL_MS)
      redis.call('HSET', record, FORGOTTEN, APART .. table.concat(beside))
      return
    end
    long = redis.call('GET', key)
  end
  local forgotten = with_entries(long or '', entries_of(kept))
  if #forgotten > RECENT_INLINE_BYTES then
    redis.call('SET', key, forgotten, 'PX', RECENT_TTL_MS)
    forgotten = APART
  end
  if forgotten ~= '' then redis.call('HSET', record, FORGOTTEN, forgotten) end
end
"""
)
