"""How much there is, and how every part of the system is."""

from __future__ import annotations

from tinycdp import Admin
from tinycdp.admin_types import Health, SystemMetrics

from dashboard.answers import remembered


@remembered(10, reads_the_lake=True)
def metrics(admin: Admin) -> SystemMetrics:
    """How much there is."""
    return admin.metrics()


@remembered(5)
def health(admin: Admin) -> Health:
    """How the system is."""
    return admin.health()
