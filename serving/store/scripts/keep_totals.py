"""Keeping the counts of a full rebuild, unless those of a later one are there: a rebuild may wake late.

KEYS  totals
ARGV  lake_version, build, text (JSON that has both as numbers)
reply 1 kept | 0 those of a later rebuild are there
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script


class KeepTotals(NamedTuple):
    """The KEYS and ARGV of the script."""

    totals: Key
    lake_version: int
    build: int
    text: bytes


KEEP_TOTALS = script(
    KeepTotals,
    """
local kept = redis.call('GET', totals)
if kept then
  local last = cjson.decode(kept)
  local version, number = last.lake_version or -1, last.build or -1
  if version > lake_version or (version == lake_version and number > build) then return 0 end
end
redis.call('SET', totals, text)
return 1
""",
)


def command(lake_version: int, build: int, text: bytes) -> Command:
    """Keeps the counts of a build of a version of the lake."""
    return KEEP_TOTALS(KeepTotals(keys.totals(), lake_version, build, text))


def read(reply: Any) -> bool:
    """Whether they were kept."""
    return bool(reply)
