"""Replacing the catalogue by compare-and-set, so that two who change definitions never lose each other's work.

KEYS  catalogue, its version
ARGV  version it must have now ("" none), new version, text
reply 1 replaced | 0 it has another version
"""

from __future__ import annotations

from serving.store import keys
from serving.store.scripts.script import Command, Script

REPLACED = Script(
    """
if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
return 1
"""
)


def replaced(text: bytes, expected: int | None, version: int) -> Command:
    """Puts a catalogue in the place of version `expected`; None: where there is none."""
    names = [keys.catalogue(), keys.catalogue_version()]
    return REPLACED(names, ["" if expected is None else expected, version, text])
