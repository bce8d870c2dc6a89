"""Lua that scripts share: where a `recent` stands that is too long to be sent with its base, until the base comes.

The key names the build, so that two rebuilds at once never mix their pieces, and the id by its digest alone: what a
rebuild leaves that is killed between the pieces and the base names nobody, and is gone after STAGED_TTL_MS.
"""

from __future__ import annotations

from serving.store.scripts.script import with_constants

STAGED = with_constants(
    """
local function staged_key(record, version, build)
  local tag, id = string.match(record, '^[^{]*({%d+}):(.*)$')
  return string.format('%s%s:%d-%d:%s', STAGED_PREFIX, tag, version, build, redis.sha1hex(id))
end
"""
)
