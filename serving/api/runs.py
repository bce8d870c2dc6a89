"""Runs over HTTP: what the worker did and does, and rebuilds that admins ask it for. Needs no Prefect."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query

from serving import runs
from serving.api.dependencies import Admin, EngineOf, require_admin
from serving.api.periods import instant_of
from serving.api.wire.runs import RebuildBody, RunAsked, RunPage
from serving.engine import Engine
from serving.ids import checked_record
from serving.ingest.message_ids import made_id
from serving.refusals import TooMany, invalid
from serving.runs import AskedRun, RunNote
from serving.store.operations.runs import ASKED_MAX
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["admin"])

#: Runs on a page, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 50, 500, 10_000
WORK_CHARACTERS_MAX = 50


@router.get("/runs")
async def list_runs(
    engine: EngineOf,
    work: Annotated[str | None, Query(max_length=WORK_CHARACTERS_MAX, description="rebuild, purge, maintain …")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> RunPage:
    """Rebuilds, purges and maintenance, the newest first: when, how long, what came of them, and who asked.

    The last 1,300 or so are kept, in Redis. A rebuild of ids is there if an admin asked for it.
    """
    notes = await engine.with_refusals(engine.store.run_notes())
    found = runs.runs_of(notes, await _working_since_ms(engine), engine.clock_ms())
    chosen = [run for run in found if work in (None, run.work)]
    page = [_wire(run) for run in chosen[offset : offset + limit]]
    return RunPage.model_validate({"runs": page, "total": len(chosen), "hasMore": offset + limit < len(chosen)})


async def _working_since_ms(engine: Engine) -> int | None:
    """Since when the worker does what it does now; None while it rests, or nobody knows."""
    text = await engine.with_refusals(engine.store.heartbeat("worker"))
    working = msgspec.json.decode(text).get("working") if text is not None else None
    return None if working is None else working["since"]


def _wire(run: RunNote) -> dict[str, Any]:
    seconds = None if run.began_ms is None or run.ended_ms is None else (run.ended_ms - run.began_ms) / 1_000
    times = {name: getattr(run, f"{name}_ms") for name in ("asked", "began", "ended")}
    return {
        "id": run.id,
        "work": run.work,
        "of": run.of,
        "state": run.state,
        "cause": run.cause,
        "by": run.by,
        **{f"{name}_at": None if ms is None else rfc3339(ms) for name, ms in times.items()},
        "seconds": seconds,
        "counts": run.counts,
        "error": run.error,
    }


@router.post("/rebuild")
async def ask_rebuild(body: RebuildBody, engine: EngineOf, caller: Admin) -> RunAsked:
    """Asks the worker for a rebuild, and answers its run's id at once.

    One rebuild of everybody serves all who ask before it begins. A rebuild as of a time writes traits and memberships
    as they were then beside those of now.
    """
    if body.ids is not None and body.at is not None:
        raise invalid("at", body.at, "send either ids or a time: a rebuild as of a time is of everybody")
    unknown = body.model_extra or {}
    if unknown and body.model_fields_set <= unknown.keys():
        name = next(iter(unknown))
        raise invalid(name, unknown[name], "send `ids` or `at`, or {} for a rebuild of everybody")
    at_ms = instant_of("at", body.at)
    if at_ms is not None:
        runs.require_past(at_ms, engine.clock_ms())
    ids = None if body.ids is None else [checked_record(f"ids[{place}]", id) for place, id in enumerate(body.ids)]
    if len(await engine.with_refusals(engine.store.asked_runs())) >= ASKED_MAX:
        raise TooMany(f"{ASKED_MAX} runs are asked for already", {"remedy": "wait until some are done"}, 10)
    run = AskedRun(made_id(), caller.label, engine.clock_ms(), ids and list(dict.fromkeys(ids)), at_ms)
    work = "rebuild" if ids is None else "rebuild of ids"
    note = RunNote(
        run.id,
        work if at_ms is None else "rebuild as of a time",
        "waiting",
        run.of,
        "admin",
        run.by,
        asked_ms=run.asked_ms,
    )
    # Asked for before it is noted: what is noted and never done would wait for ever.
    await engine.with_refusals(engine.store.ask_run(runs.encode(run)))
    await engine.with_refusals(engine.store.note_runs([runs.encode(note)]))
    return RunAsked(id=run.id)
