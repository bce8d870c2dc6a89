"""The heartbeat of a part of which one process works, while others wait for its lease."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from serving.store.store import Store


def beat(store: Store, part: str, by: str, report: Mapping[str, Any], ttl_ms: int, *, is_holder: bool) -> None:
    """Writes the report of a part, signed with the name of the process.

    A process that does not hold the lease has nothing to tell while another speaks: it would hide that one's errors.
    """
    if not is_holder:
        last = store.heartbeat(part)
        if last is not None and msgspec.json.decode(last).get("by") != by:
            return
    store.beat(part, msgspec.json.encode({**report, "by": by}), ttl_ms)
