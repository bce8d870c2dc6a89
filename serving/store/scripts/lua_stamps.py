"""Lua that scripts share: what of a stamp they compare."""

from __future__ import annotations

STAMPS = """
-- lake version, build and seq of a stamp (`serving.store.stamps`)
local function unpacked_stamp(stamp)
  return unpack(cmsgpack.unpack(stamp), 1, 3)
end
"""
