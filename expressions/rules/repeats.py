"""Which copies of one event id count (S11): the rule, one copy at a time.

    copies of an id's event  →  without imported ones that a logged one was received before  →  in order of receipt  →
    the first counts; each other is measured against the last that counts: within 24 h a repeat, later a new event

It is what ingest does with what it knows, and the same whatever it knew: a copy that it took, since no base counted the
import yet, is measured against the import afterwards, as if ingest had known. An import of what the log already has is
no news at any distance, since files of history overlap.

Imported copies received at once are in order of time, kind, name and fields (names in order, and of a field the number
before the text, the boolean, the list, and null last), so that nothing depends on the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterable

from .windows import DAY_MS

#: A copy received this long after the copy that counts is a new event.
REPEAT_MS = DAY_MS


def counting(copies: Iterable[tuple[str, str, int]]) -> list[bool]:
    """Which copies (id, event id, receipt) count; those of one event stand together, in order of receipt."""
    counts: list[bool] = []
    held: tuple[str, str] | None = None
    anchor = 0
    for one, event_id, received in copies:
        is_new = (one, event_id) != held or received - anchor >= REPEAT_MS
        counts.append(is_new)
        if is_new:
            held, anchor = (one, event_id), received
    return counts
