"""Replacing the catalogue by compare-and-set, so that two who change definitions never lose each other's work.

The version of a definition that the lake's history lacks is kept with it, in the same step: what is in force is in the
catalogue and, until it is in the history, in the queue. An entry says since when it waits, by the server's clock: that
of the saver's machine may be hours off.

KEYS  catalogue, version, unwritten
ARGV  expected (the version that it must have now, "" for none), replacing (the new version), text; where a definition
      is saved also entry, entries_max, bytes_max
reply 1 replaced | 0 it has another version | -1 the queue is full
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.errors import HistoryFull
from serving.store.requests import Command
from serving.store.scripts.lua_log import CLOCK
from serving.store.scripts.script import Key, script

#: Versions that wait for the lake at most, and the bytes that they take in Redis.
UNWRITTEN_MAX, UNWRITTEN_BYTES_MAX = 1_000, 8 * 1024 * 1024


class ReplaceCatalogue(NamedTuple):
    """The KEYS and ARGV of the script. Versions are texts here: Lua compares and keeps them as they are."""

    catalogue: Key
    version: Key
    unwritten: Key
    expected: str
    replacing: str
    text: bytes
    entry: bytes | None
    entries_max: int | None
    bytes_max: int | None


REPLACE_CATALOGUE = script(
    ReplaceCatalogue,
    CLOCK,
    """
if (redis.call('GET', version) or '') ~= expected then return 0 end
if entry then
  local bytes = redis.call('MEMORY', 'USAGE', unwritten, 'SAMPLES', 0) or 0
  if redis.call('XLEN', unwritten) >= entries_max or bytes + #entry > bytes_max then return -1 end
  redis.call('XADD', unwritten, replacing .. '-0', ENTRY_EVENT, entry, ENTRY_RECEIVED, string.format('%d', clock_ms()))
end
redis.call('SET', catalogue, text)
redis.call('SET', version, replacing)
return 1
""",
)


def command(text: bytes, expected: int | None, version: int, unwritten: bytes | None = None) -> Command:
    """Puts a catalogue in the place of version `expected`; None: where there is none.

    `unwritten` is the version of a definition that this one has and the one before had not.
    """
    return REPLACE_CATALOGUE(
        ReplaceCatalogue(
            catalogue=keys.catalogue(),
            version=keys.catalogue_version(),
            unwritten=keys.unwritten(),
            expected="" if expected is None else str(expected),
            replacing=str(version),
            text=text,
            entry=unwritten,
            entries_max=None if unwritten is None else UNWRITTEN_MAX,
            bytes_max=None if unwritten is None else UNWRITTEN_BYTES_MAX,
        )
    )


def read(reply: Any) -> bool:
    """Whether it was replaced. Raises `HistoryFull`."""
    if reply < 0:
        raise HistoryFull("as many versions of definitions wait for the lake as may")
    return bool(reply)
