"""Finding users and looking at one, and trying an unsaved expression on all of them: for people at the console."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from expressions.definitions import Definition, DefinitionKind
from serving.api.dependencies import MISSING, EngineOf, require_admin
from serving.api.user_paths import UserRoute
from serving.api.users import all_values, read_person
from serving.api.wire.people import UserOut, UserPage
from serving.api.wire.shared import PreviewBody, PreviewOut
from serving.definitions import saving
from serving.definitions.catalogue import encode
from serving.ids import record_of
from serving.lookups import questions
from serving.lookups.questions import asked
from serving.refusals import NotFound, invalid
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["people"], route_class=UserRoute)

#: Users on a page of the search, if not said otherwise and at most.
PAGE, PAGE_MAX = 50, 100

KINDS: dict[str, DefinitionKind] = {"trait": "trait", "segment": "segment", "flag": "flag"}


@router.post("/preview")
async def preview(body: PreviewBody, engine: EngineOf) -> PreviewOut:
    """For whom an unsaved expression holds, from the lake as it is now: how many, and some of them with their values.

    What was not drained yet, a second or so, is not in it.
    """
    kind = KINDS.get(body.type)
    if kind is None:
        raise invalid("type", body.type, "use trait, segment or flag", "Type must be one of: trait, segment, flag")
    catalogue = await engine.current()
    saving.bound_alone(catalogue, Definition(kind, "unsaved_expression", body.expression))
    root, text = engine.settings.lake_root, encode(catalogue)
    found = await asked(questions.preview, root, text, kind, body.expression, engine.clock_ms(), body.sample)
    return PreviewOut.model_validate(found)


@router.get("/users/search")
async def search(
    engine: EngineOf,
    query: Annotated[str, Query(max_length=500)] = "",
    limit: Annotated[int, Query(ge=0, description=f"0 is {PAGE}, more than {PAGE_MAX} is {PAGE_MAX}")] = PAGE,
    offset: Annotated[int, Query(ge=0, le=100_000_000)] = 0,
) -> UserPage:
    """Users whose id contains the text, whatever its case; all where there is none. The newest first.

    A text with a kind before it, `user:ad`, is the beginning of an id of that kind, as `id` shows it.
    """
    limit = min(limit or PAGE, PAGE_MAX)
    return UserPage.model_validate(await asked(questions.search, engine.settings.lake_root, query, limit, offset))


@router.get("/users/{user:whole}", responses=MISSING)
async def detail(user: str, engine: EngineOf) -> UserOut:
    """One user: ids, attributes, traits and segments live, recent events and counts as far as they are drained."""
    who = await read_person(engine, record_of(user))
    ids = [record.id for record in who.reading.records]
    now_ms = engine.clock_ms()
    found = await asked(questions.history, engine.settings.lake_root, ids, now_ms)
    if found is None and not any(record.has_events for record in who.reading.records):
        raise NotFound("User not found", {"field": "userId", "value": user})
    values, lacking = all_values(who)
    if lacking:
        await engine.want_rebuild_of(lacking)
    since: dict[str, int] = (found or {}).pop("since", {})
    warming = set(values["warming"])
    at = rfc3339(who.now_ms)
    shown: dict[str, Any] = {
        "id": ids[0],
        "aliases": questions.aliases(ids),
        "traits": [
            {"key": key, "value": value, "updated_at": at, "warming": key in warming}
            for key, value in values["traits"].items()
        ],
        "segments": [
            {
                "key": key,
                "inSegment": value,
                "since": rfc3339(since[key]) if value and key in since else None,
                "updated_at": at,
                "warming": key in warming,
            }
            for key, value in values["segments"].items()
        ],
    }
    return UserOut.model_validate({"user": questions.NOTHING | (found or {"created_at": at}) | shown})
