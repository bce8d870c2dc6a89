"""`GET /v1/admin/flags/{key}/people`: whom a flag allows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from serving.api.definitions import InFlags
from serving.api.dependencies import NOT_AT_ONCE, NOT_FOUND, EngineOf, require_admin
from serving.api.wire.flag_people import FlagPeopleOut
from serving.definitions.catalogue import encode
from serving.lookups.flag_people import flag_people
from serving.lookups.worker import in_worker
from serving.refusals import NotAtOnce, NotFound, invalid

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["people"])

#: People on a page, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 50, 1_000, 1_000_000


@router.get("/flags/{key}/people", responses=NOT_FOUND | NOT_AT_ONCE)
async def read_flag_people(
    key: InFlags,
    engine: EngineOf,
    variant: Annotated[str | None, Query(description="only those who get this variant")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> FlagPeopleOut:
    """How many people a flag allows now, by variant, and a page of them by id, from the lake.

    Each page is a question of its own, as of its own instant. Over more than a million events it is refused with 409.
    """
    catalogue = await engine.current()
    if ("flag", key) not in catalogue.definitions:
        raise NotFound("Flag not found", {"field": "key", "value": key})
    if variant is not None:
        _require_variant(variant, catalogue.flags[key].values)
    source, text = await engine.source(), encode(catalogue)
    people = await in_worker(
        flag_people, source, text, key, variant, engine.clock_ms(), limit, offset, engine.settings.fresh_events_max
    )
    if people is None:
        raise NotAtOnce(
            f"more than {engine.settings.fresh_events_max:,} events are too many to say at once whom '{key}' allows",
            {"field": "key", "value": key, "remedy": "start the analysis `people`"},
        )
    return FlagPeopleOut.model_validate(people)


def _require_variant(variant: str, known: Collection[str]) -> None:
    """Raises `Invalid` for a variant that the flag lacks: an empty page would say that nobody gets it."""
    if not known:
        raise invalid("variant", variant, "leave it out: the flag has no variants")
    if variant not in known:
        raise invalid("variant", variant, f"send a variant of the flag, one of {', '.join(known)}")
