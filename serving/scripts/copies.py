"""Lua that scripts share: how a tail entry is laid out, and which copy of an event a record holds already."""

from __future__ import annotations

import struct

#: A tail entry is seq, ts, received (six bytes each, big-endian; ts may be before 1970), then msgpack.
TAIL_HEADER_BYTES = 18
#: An entry of `recent` is the event id's hash, received, seq (0 for an imported event, which has none).
RECENT_ENTRY_BYTES = 20
#: A repeat received this long after the copy that counts is a new event.
REPEAT_MS = 86_400_000

COPIES = """
local REPEAT_MS = 86400000
local RECENT_BYTES = 20

-- seq, ts and receipt of a tail entry
local function header(entry)
  return struct.unpack('>I6i6I6', entry)
end

local function entry_of(seq, ts, received, payload)
  return struct.pack('>I6i6I6', seq, ts, received) .. payload
end

-- Receipt and seq of an event among the covered ones; nil when it is not there. A hash may be found across two entries,
-- so only an aligned find counts.
local function covered_copy(recent, hash)
  local from = 1
  while recent do
    local at = string.find(recent, hash, from, true)
    if not at then return nil end
    if (at - 1) % RECENT_BYTES == 0 then
      return struct.unpack('>I6I6', recent, at + 8)
    end
    from = at + 1
  end
end
"""


def recent_entry(event_hash: bytes, received_ms: int, seq: int | None) -> bytes:
    """One covered event as `recent` remembers it; `seq` None is an imported one."""
    return event_hash + received_ms.to_bytes(6, "big") + (seq or 0).to_bytes(6, "big")


def tail_entry(seq: int, ts_ms: int, received_ms: int, payload: bytes) -> bytes:
    """A tail entry as the scripts write it."""
    return seq.to_bytes(6, "big") + ts_ms.to_bytes(6, "big", signed=True) + received_ms.to_bytes(6, "big") + payload


def last_of(data: bytes | None) -> tuple[int, int]:
    """(receipt in ms, seq) of the last event of a record, from its field; zeros when it has had none."""
    if not data:
        return 0, 0
    return int.from_bytes(data[:6], "big"), int.from_bytes(data[6:12], "big")


def packed_seq(seq: int) -> bytes:
    """A seq as records store one."""
    return struct.pack(">Q", seq)[2:]
