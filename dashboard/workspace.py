"""The workspace that a key belongs to: its time zone, its release, and what the key may do."""

from __future__ import annotations

from tinycdp import Admin
from tinycdp.admin_types import Workspace

from dashboard.answers import remembered


@remembered(300)
def workspace(admin: Admin) -> Workspace:
    """`time_zone`: whose dates traits count; `key`: who is signed in."""
    return admin.workspace()


def may_change() -> bool:
    """Whether the person's key may change something; a viewer's sees all and changes nothing."""
    return workspace()["key"]["kind"] == "admin"
