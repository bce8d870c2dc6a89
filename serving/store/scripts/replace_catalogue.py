"""Replacing the catalogue by compare-and-set, so that two who change definitions never lose each other's work.

KEYS  catalogue, version
ARGV  expected (the version that it must have now, "" for none), replacing (the new version), text
reply 1 replaced | 0 it has another version
"""

from __future__ import annotations

from typing import Any, NamedTuple

from serving.store import keys
from serving.store.requests import Command
from serving.store.scripts.script import Key, script


class ReplaceCatalogue(NamedTuple):
    """The KEYS and ARGV of the script. Versions are texts here: Lua compares and keeps them as they are."""

    catalogue: Key
    version: Key
    expected: str
    replacing: str
    text: bytes


REPLACE_CATALOGUE = script(
    ReplaceCatalogue,
    """
if (redis.call('GET', version) or '') ~= expected then return 0 end
redis.call('SET', catalogue, text)
redis.call('SET', version, replacing)
return 1
""",
)


def command(text: bytes, expected: int | None, version: int) -> Command:
    """Puts a catalogue in the place of version `expected`; None: where there is none."""
    return REPLACE_CATALOGUE(
        ReplaceCatalogue(
            catalogue=keys.catalogue(),
            version=keys.catalogue_version(),
            expected="" if expected is None else str(expected),
            replacing=str(version),
            text=text,
        )
    )


def read(reply: Any) -> bool:
    """Whether it was replaced."""
    return bool(reply)
