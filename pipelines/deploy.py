"""Prefect's view of the work: the flows `rebuild`, `purge` and `maintain`, their runs, tasks, progress and schedules.

The only file that names Prefect, and slow to import. The flows run in the worker's own process, since a request must
be answered within seconds and a fresh interpreter takes as long; Prefect's server records every run, and its UI shows
them. It is told how many ids a rebuild is of, not which: what it records is kept when a person is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from lake.lake import Lake
from pipelines import maintain as maintaining
from pipelines import purge as purging
from pipelines import rebuild as rebuilding
from serving.settings import Settings
from serving.store import Store

STEPS = ("reading", "publishing", "sweeping", "writing", "done")


def flows(
    store: Store, lake: Lake, settings: Settings
) -> tuple[Callable[[Collection[str] | None], Any], Callable[[], Any], Callable[[], Any]]:
    """The flows over the parts of this process: (rebuild, purge, maintain), called like the plain functions."""
    asked: list[str] | None = None  # not a parameter of the flow: Prefect keeps and shows those, and ids are people's

    @task(name="rebuild everybody or some ids")
    def rebuild_task() -> rebuilding.Run:
        progress = create_progress_artifact(progress=0.0, description="rebuild")
        assert isinstance(progress, UUID), "a task that waits gets an id"
        logger = get_run_logger()
        seen: list[str] = []

        def on_progress(step: str, done: int) -> None:
            if step not in seen:
                seen.append(step)
                logger.info("%s", step)
                share = 100.0 * STEPS.index(step) / (len(STEPS) - 1)
                update_progress_artifact(artifact_id=progress, progress=share)

        return rebuilding.rebuild(store, lake, settings, ids=asked, progress=on_progress)

    @flow(name="rebuild", log_prints=True)
    def rebuild_flow(users: int | None) -> rebuilding.Run:
        """Every trait and segment from the lake, and a fresh base for every id (or for so many)."""
        run = rebuild_task()
        create_table_artifact(key="rebuild", table=[rebuilding.run_row(run) | {"seqs": str(run.seqs)}])
        return run

    @flow(name="purge", log_prints=True)
    def purge_flow() -> dict[str, Any]:
        """What deletes cover, out of all tables and files."""
        return asdict(purging.purge(store, lake))

    @flow(name="maintain", log_prints=True)
    def maintain_flow() -> dict[str, Any]:
        """Retention, compaction, checkpoint and vacuum of the lake's tables."""
        return maintaining.maintain(
            lake, export_days=settings.export_retention_days, retention_days=settings.retention_days
        )

    def run_rebuild(ids: Collection[str] | None) -> rebuilding.Run:
        nonlocal asked
        asked = None if ids is None else sorted(ids)
        found: rebuilding.Run = rebuild_flow(None if asked is None else len(asked))
        return found

    def run_purge() -> dict[str, Any]:
        found: dict[str, Any] = purge_flow()
        return found

    def run_maintain() -> dict[str, Any]:
        found: dict[str, Any] = maintain_flow()
        return found

    return run_rebuild, run_purge, run_maintain
