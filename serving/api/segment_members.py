"""`GET /v1/admin/segments/{key}/members`: who is in a segment."""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from serving.api.definitions import InSegments
from serving.api.dependencies import NOT_AT_ONCE, NOT_FOUND, EngineOf, require_admin
from serving.api.wire.segment_members import SegmentMembersOut
from serving.definitions.catalogue import encode
from serving.lookups.segment_members import segment_members
from serving.lookups.worker import in_worker
from serving.refusals import NotAtOnce, NotFound, invalid

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["people"])

#: Members on a page, if not said otherwise and at most.
PAGE, PAGE_MAX = 50, 1_000


@router.get("/segments/{key}/members", responses=NOT_FOUND | NOT_AT_ONCE)
async def read_segment_members(
    key: InSegments,
    engine: EngineOf,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    cursor: Annotated[str | None, Query(description="of the page before")] = None,
) -> SegmentMembersOut:
    """How many people are in a segment, and a page of them by id, from the lake: now, up to a million events; of more
    events as of the last full rebuild. Where that did not know the rule, it is refused with 409.

    Each page is as of its own instant. Who is a member all the while is on exactly one.
    """
    after = None if cursor is None else _id_of(cursor)
    catalogue = await engine.current()
    if ("segment", key) not in catalogue.definitions:
        raise NotFound("Segment not found", {"field": "key", "value": key})
    source, text = await engine.source(), encode(catalogue)
    found = await in_worker(
        segment_members, source, text, key, engine.clock_ms(), after, limit, engine.settings.fresh_events_max
    )
    if found is None:
        raise NotAtOnce(
            f"the last full rebuild did not know the rule of '{key}' as it is now",
            {
                "field": "key",
                "value": key,
                "remedy": "ask again after the next one, or start the analysis `people`",
            },
        )
    last = found.pop("next")
    return SegmentMembersOut.model_validate({**found, "cursor": None if last is None else _cursor(last)})


def _cursor(id: str) -> str:
    return urlsafe_b64encode(id.encode()).decode()


def _id_of(cursor: str) -> str:
    """The id that a cursor stands for. Raises `Invalid`."""
    try:
        return b64decode(cursor, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid("cursor", cursor, "send the cursor of the page before, or leave it out") from None
