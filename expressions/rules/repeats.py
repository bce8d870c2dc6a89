"""Which copies of one event id count (S11): the rule, copy by copy.

    1. take the copies of an event id of one id
    2. of the imported copies leave out all but the first, and that too if it was not received before the first logged
       one
    3. put the others in order of receipt
    4. the first copy counts; each further copy is measured against the last that counts: within 24 h it is a repeat,
       later it is a new event

Ingest applies the rule to the copies that it knows. The answer does not depend on what it knew: it may take a copy
because no base counts the import yet, and that copy is measured against the import afterwards. An imported copy behind
another one, logged or imported, is a repeat at any distance, since files of history overlap with the log and with each
other. An imported copy that does not count is none to measure by.

Imported copies that were received at once are in order of time, kind, name and fields, so that nothing depends on the
order of rows. Fields are compared by name, then by value: number, string, boolean, list, and null last.
"""

from __future__ import annotations

from collections.abc import Iterable

from .windows import DAY_MS

#: A copy that is received this long after the copy that counts is a new event.
REPEAT_MS = DAY_MS


def counting(copies: Iterable[tuple[str, str, int]]) -> list[bool]:
    """Whether each copy (id, event id, receipt in ms) counts. The copies of one event stand together, by receipt."""
    counts: list[bool] = []
    counted_event: tuple[str, str] | None = None
    counted_ms = 0
    for id, event_id, received_ms in copies:
        is_new = (id, event_id) != counted_event or received_ms - counted_ms >= REPEAT_MS
        counts.append(is_new)
        if is_new:
            counted_event, counted_ms = (id, event_id), received_ms
    return counts
