"""The workspace that a key belongs to: its time zone, its release, and what the key may do."""

from __future__ import annotations

from typing import Any

from tinycdp import Admin

from dashboard.answers import remembered


@remembered(300)
def workspace(admin: Admin) -> dict[str, Any]:
    """`time_zone`: whose dates traits count."""
    return {"time_zone": "UTC"}
