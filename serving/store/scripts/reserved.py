"""One command that writes a key, and may use the reserve while memory is full: a heartbeat, a request for a rebuild.

By itself such a command is refused there, since Redis does not know that it is small.

    KEYS  key
    ARGV  name (of the command), then its other arguments
    reply the command's
"""

from __future__ import annotations

from typing import NamedTuple

from serving.store.requests import Argument, Command
from serving.store.scripts.script import Key, script


class Reserved(NamedTuple):
    """The KEYS and ARGV of the script; more arguments are the command's, behind its key."""

    key: Key
    name: str


RESERVED = script(Reserved, "return redis.call(name, key, unpack(ARGV, NAMED_ARGUMENTS + 1))")


def command(name: str, key: str, *arguments: Argument) -> Command:
    """The command `name key arguments…`."""
    return RESERVED(Reserved(key, name), more_arguments=arguments)
