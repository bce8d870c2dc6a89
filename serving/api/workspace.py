"""`GET /v1/admin/workspace`: what whoever shows answers to people must know of the system and of the key in use."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from serving.api.dependencies import Admin, EngineOf, require_admin
from serving.api.wire.workspace import KeyInUse, WorkspaceOut
from serving.release import release
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["admin"])


@router.get("/workspace")
async def workspace(engine: EngineOf, caller: Admin) -> WorkspaceOut:
    """The time zone whose calendar dates count, the release, the time, and the key that asks."""
    return WorkspaceOut(
        time_zone=engine.settings.time_zone,
        release=release(),
        now=rfc3339(engine.clock_ms()),
        key=KeyInUse(id=caller.id, kind=caller.kind, label=caller.label),
    )
