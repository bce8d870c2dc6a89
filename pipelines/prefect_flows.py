"""Prefect's view of the work: the flows `rebuild`, `purge` and `maintain`, their runs, tasks and progress.

The only file that names Prefect, and slow to import. The flows run in the worker's own process: a request must be
answered within seconds, and a fresh interpreter alone takes as long. Prefect's server records every run, and its UI
shows them. It is told of how many ids a rebuild is, and not of which: its records stay when a person is gone. While it
does not answer, the same work is done without it, and the log says so: traits do not wait for a record of their making.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import httpx
import structlog
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.settings import PREFECT_API_URL

from lake.errors import LakeError
from lake.lake import Lake
from pipelines import rebuild as rebuilding
from pipelines.work import Work, plain_work
from serving.refusals import Refusal
from serving.settings import Settings
from serving.store.errors import StoreError
from serving.store.store import Store

log = structlog.get_logger()

#: How long Prefect's server may take to say that it is there.
HEALTH_S = 2.0
#: The steps of a rebuild, as it names them, in order: progress is the place among them.
STEPS = ("reading", "publishing", "sweeping", "writing", "done")


def flows(store: Store, lake: Lake, settings: Settings) -> Work:
    """The work of a worker, each call a flow run."""
    plain = plain_work(store, lake, settings)
    wanted: list[str] | None = None  # not a parameter of the flow: Prefect keeps and shows those, and ids are people's

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

        return rebuilding.rebuild(store, lake, settings, ids=wanted, progress=on_progress)

    @flow(name="rebuild", log_prints=True)
    def rebuild_flow(users: int | None) -> rebuilding.Run:
        """Rebuilds every trait and segment from the lake, and a fresh base for every id (or for so many)."""
        run = rebuild_task()
        create_table_artifact(key="rebuild", table=[rebuilding.run_row(run) | {"seqs": str(run.seqs)}])
        return run

    @flow(name="purge", log_prints=True)
    def purge_flow() -> dict[str, Any]:
        """Takes what deletes cover out of all tables and files."""
        done: dict[str, Any] = plain.purge()
        return done

    @flow(name="maintain", log_prints=True)
    def maintain_flow() -> dict[str, Any]:
        """Retention, compaction, checkpoints and vacuum of the lake's tables."""
        done: dict[str, Any] = plain.maintain()
        return done

    def run_rebuild(ids: Collection[str] | None) -> Any:
        nonlocal wanted
        wanted = None if ids is None else sorted(ids)
        users = None if wanted is None else len(wanted)
        return _recorded(lambda: rebuild_flow(users), lambda: plain.rebuild(wanted))

    return Work(
        run_rebuild, lambda: _recorded(purge_flow, plain.purge), lambda: _recorded(maintain_flow, plain.maintain)
    )


def _recorded(recorded: Callable[[], Any], plain: Callable[[], Any]) -> Any:
    """The work as a flow run; without one while Prefect does not answer, and once more when it is lost on the way."""
    if _answers():
        try:
            return recorded()
        except (StoreError, LakeError, Refusal, OSError):
            raise
        except Exception:  # Prefect's client raises anything when its server goes; with the server there it is ours
            if _answers():
                raise
    log.warning("prefect_away")
    return plain()


def _answers() -> bool:
    """Whether Prefect's server answers."""
    url = PREFECT_API_URL.value()
    try:
        return url is None or httpx.get(f"{url}/health", timeout=HEALTH_S).is_success
    except httpx.HTTPError:
        return False
