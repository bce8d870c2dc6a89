"""Lua that scripts share: tombstones without a name, where a record goes that was deleted and purged.

A record's key names its id. When all that a delete covers is gone from the lake, `bury` moves its tombstone and what it
remembers of the last 24 h to the shard's `gone`, under the hash of the id. The first thing that is written for the id
then brings them back, so nothing that a tombstone refuses gets past it meanwhile. Reads need not look there: an id that
is gone has nothing to show. Nor does a retry of a deleted event bring anything back: it is looked up where it is.
"""

from __future__ import annotations

from serving.store.scripts.script import with_constants

#: Records of one call.
RECORDS_MAX = 1_000

GONE = with_constants(
    """
-- Where a record that is gone has its tombstone: a hash and its field. The field is the tombstone as the record had it,
-- then what the record remembers.
local function gone_at(record)
  local tag, id = string.match(record, '^[^{]*({%d+}):(.*)$')
  return GONE_PREFIX .. tag, redis.sha1hex(id), tag
end

-- the tombstone of a record that is gone; nil of one that is not
local function gone_tombstone(record)
  local gone, digest = gone_at(record)
  local field = redis.call('HGET', gone, digest)
  return field and string.sub(field, 1, POSITION_BYTES) or nil
end

-- the key of what a record that is gone has forgotten, where that is long
local function gone_forgotten_key(record)
  local _, digest, tag = gone_at(record)
  return RECENT_PREFIX .. tag .. ':' .. digest
end

-- what a record that is gone has forgotten; nil of one that is not gone
local function gone_forgotten(record)
  local gone, digest = gone_at(record)
  local field = redis.call('HGET', gone, digest)
  return field and string.sub(field, POSITION_BYTES + 1) or nil
end

-- Brings back what a record has forgotten, and its tombstone; whether there was anything.
local function revive(record)
  local gone, digest = gone_at(record)
  local field = redis.call('HGET', gone, digest)
  if not field then return false end
  redis.call('HSETNX', record, TOMBSTONE, string.sub(field, 1, POSITION_BYTES))
  local forgotten = string.sub(field, POSITION_BYTES + 1)
  if #forgotten % RECENT_ENTRY_BYTES == 1 then
    local apart = gone_forgotten_key(record)
    if redis.call('EXISTS', apart) == 1 then
      redis.call('RENAME', apart, FORGOTTEN_PREFIX .. string.sub(record, #RECORD_PREFIX + 1))
    else
      forgotten = string.sub(forgotten, 2)
    end
  end
  if forgotten ~= '' then redis.call('HSETNX', record, FORGOTTEN, forgotten) end
  redis.call('HDEL', gone, digest)
  return true
end
"""
)
