"""What routes are given: the engine, the caller, and refusals for the document."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from fastapi import Depends, Header, Query, Request
from starlette.datastructures import URL

from serving.access.keys import Caller
from serving.api.permissions import permission
from serving.api.wire.shared import ErrorOut
from serving.engine import Engine

Responses: TypeAlias = dict[int | str, dict[str, Any]]

#: Refusals that an operation documents for itself; those of any operation are in `serving.api.openapi`.
NOT_FOUND: Responses = {404: {"model": ErrorOut, "description": "There is no such thing."}}
NOT_AT_ONCE: Responses = {
    409: {"model": ErrorOut, "description": "Too many events to say it at once: ask an analysis."}
}
CONFLICT: Responses = {409: {"model": ErrorOut, "description": "It is there already, or others need it."}}
CHANGED: Responses = {412: {"model": ErrorOut, "description": "It was changed meanwhile; details have it as it is."}}
#: The body of a refusal where the answer itself is not JSON: the framework would take both for the same type.
ERROR_IN_JSON: dict[str, Any] = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}}


async def engine_of(request: Request) -> Engine:
    """The engine of this process."""
    engine: Engine = request.app.state.engine
    return engine


EngineOf = Annotated[Engine, Depends(engine_of)]


def reached_at(request: Request) -> URL:
    """The address at which clients reach the API, as set or as of this request; without a slash at the end."""
    engine: Engine = request.app.state.engine
    return URL((engine.settings.public_url or str(request.base_url)).rstrip("/"))


async def require_admin(
    request: Request,
    engine: EngineOf,
    authorization: Annotated[str | None, Header()] = None,
    apiKey: Annotated[str | None, Query()] = None,
) -> Caller:
    """The caller, whose key must be one that may make this call (`serving.api.permissions`): an admin's always may.

    Raises as `Engine.admit` does.
    """
    return await engine.require(authorization, apiKey, permission(request.method, request.scope["route"].path_format))


Admin = Annotated[Caller, Depends(require_admin)]
