"""The work of a worker, as plain calls over the parts of its process. `prefect_flows` makes flow runs of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any, NamedTuple

from lake.lake import Lake
from pipelines import maintain, rebuild
from pipelines.purge import purge
from serving.settings import Settings
from serving.store.store import Store

#: Runs a rebuild of everybody (None) or of some ids.
Rebuild = Callable[[Collection[str] | None], Any]
#: Runs a purge, or maintenance; returns what it did.
Chore = Callable[[], Any]


class Work(NamedTuple):
    """What a worker runs, each when it is due. `Worker` takes these calls one by one, in this order."""

    rebuild: Rebuild
    purge: Chore
    maintain: Chore


def plain_work(store: Store, lake: Lake, settings: Settings) -> Work:
    """The work without a record of its runs."""
    return Work(
        lambda ids: rebuild.rebuild(store, lake, settings, ids=ids),
        lambda: asdict(purge.purge(store, lake)),
        lambda: maintain.maintain(
            lake, export_days=settings.export_retention_days, retention_days=settings.retention_days
        ),
    )
