"""Who calls, and what admin calls are given: dependencies of the framework's routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request

from serving.auth import Caller
from serving.engine import Engine
from serving.wire import ErrorOut

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorOut} for status in (400, 401, 403, 404, 409, 503)}


async def engine_of(request: Request) -> Engine:
    """What the process serves with."""
    engine: Engine = request.app.state.engine
    return engine


EngineOf = Annotated[Engine, Depends(engine_of)]


async def require_admin(
    engine: EngineOf,
    authorization: Annotated[str | None, Header()] = None,
    apiKey: Annotated[str | None, Query()] = None,
) -> Caller:
    """The caller, if the key is an admin's."""
    return engine.keys.require(authorization, apiKey, "admin")


Admin = Annotated[Caller, Depends(require_admin)]
