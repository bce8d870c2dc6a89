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

-- what a record that is gone remembers, and the key of that when it is long; nil of one that is not gone
local function gone_recent(record)
  local gone, digest, tag = gone_at(record)
  local field = redis.call('HGET', gone, digest)
  if field then return string.sub(field, POSITION_BYTES + 1), RECENT_PREFIX .. tag .. ':' .. digest end
end

-- Brings back what a record remembers; whether there was anything.
local function revive(record)
  local gone, digest, tag = gone_at(record)
  local field = redis.call('HGET', gone, digest)
  if not field then return false end
  redis.call('HSETNX', record, TOMBSTONE, string.sub(field, 1, POSITION_BYTES))
  local recent = string.sub(field, POSITION_BYTES + 1)
  if recent == RECENT_APART then
    local apart = RECENT_PREFIX .. tag .. ':' .. digest
    if redis.call('EXISTS', apart) == 1 then
      redis.call('RENAME', apart, RECENT_PREFIX .. string.sub(record, #RECORD_PREFIX + 1))
    else
      recent = ''
    end
  end
  if recent ~= '' then redis.call('HSETNX', record, RECENT, recent) end
  redis.call('HDEL', gone, digest)
  return true
end
"""
)
