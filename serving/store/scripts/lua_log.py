"""Lua that scripts share: the server's clock, and how an entry is added to a shard's log."""

from __future__ import annotations

from serving.store.scripts.script import with_constants

CLOCK = """
-- the server's clock in UTC ms
local function clock_ms()
  local seconds, microseconds = unpack(redis.call('TIME'))
  return seconds * 1000 + math.floor(microseconds / 1000)
end
"""

LOG = CLOCK + with_constants(
    """
-- The receipt of what comes now: the clock, or the shard's last receipt where the clock went back behind it. A receipt
-- that is too far ahead to be believed (`layout`) is noted, and the next one is the clock's again.
local function receipt_ms(shard, last)
  local clock = clock_ms()
  if last <= clock + LEAD_MS_MAX then return math.max(clock, last) end
  redis.call('HSET', shard, AHEAD, string.format('%d', math.max(last, tonumber(redis.call('HGET', shard, AHEAD) or 0))))
  return clock
end

-- Adds an entry to a log. Its time and its receipt are texts, since a script has them as such already.
local function append(log, seq, entry, ts_text, received_text)
  local entry_id = string.format('%d-0', seq)
  redis.call('XADD', log, entry_id, ENTRY_EVENT, entry, ENTRY_TS, ts_text, ENTRY_RECEIVED, received_text)
end
"""
)
