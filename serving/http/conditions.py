"""What `If-None-Match` and `If-Match` ask of an entity tag (RFC 9110, 8.8.3 and 13.1): lists, weak tags, and `*`.

A tag in either header is text in quotes, perhaps with `W/` before it. What is not one matches none.
"""

from __future__ import annotations

import re

#: One entry of a list: an entity tag, which may hold commas, or else what stands up to the next comma.
_ENTRY = re.compile(r'\s*((?:W/)?"[^"]*"\s*|[^,]*)(?:,|$)')
_WEAK = "W/"
#: Characters of `If-None-Match` that are read: anybody may send one. A client that sends more gets the answer again.
_READ_MAX = 4_096


def client_has(if_none_match: str | None, tag: str) -> bool:
    """Whether a client's `If-None-Match` has this tag, by weak comparison: it holds the answer already."""
    if if_none_match is None:
        return False
    if if_none_match == tag:  # nearly always it is the one tag, as it was given out
        return True
    opaque = tag.removeprefix(_WEAK)
    if len(if_none_match) > _READ_MAX:
        return False
    return any(entry == "*" or entry.removeprefix(_WEAK) == opaque for entry in _entries(if_none_match))


def client_knows(if_match: str | None, tag: str) -> bool:
    """Whether a client's `If-Match` has this tag, by strong comparison; any tag will do where no header was sent.

    A weak tag says that something is as good as the same, so it never matches here.
    """
    if if_match is None:
        return True
    return any(entry == "*" or (entry == tag and not tag.startswith(_WEAK)) for entry in _entries(if_match))


def _entries(header: str) -> list[str]:
    return [entry.strip() for entry in _ENTRY.findall(header) if entry]
