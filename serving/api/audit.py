"""The audit log over HTTP: what admins did."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Query

from serving.access import audit
from serving.api.dependencies import EngineOf, require_admin
from serving.api.wire.audit import AuditPage

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["access"])

#: Entries on a page, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 100, 1_000, 10_000_000


@router.get("/audit")
async def read_audit(
    engine: EngineOf,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> AuditPage:
    """A page of what admins did, the newest first."""
    page = await to_thread.run_sync(lambda: audit.page(engine.history, limit, offset))
    return AuditPage.model_validate(page)
