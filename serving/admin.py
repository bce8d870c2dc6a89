"""Create, read, change, delete and check definitions. Rare calls: they run in a thread and may take the lake's time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from expressions.definitions import Definition, DefinitionKind
from expressions.kinds import dtype_of
from serving import defining
from serving.engine import Engine
from serving.refusals import Invalid, NotFound, invalid
from serving.wire import (
    ErrorOut,
    FlagBody,
    FlagChange,
    FlagOut,
    RuleBody,
    RuleChange,
    RuleOut,
    TraitBody,
    TraitChange,
    TraitOut,
    ValidateBody,
    Validated,
    shown,
)


async def engine_of(request: Request) -> Engine:
    """What the process serves with."""
    engine: Engine = request.app.state.engine
    return engine


async def require_admin(
    engine: Annotated[Engine, Depends(engine_of)],
    authorization: Annotated[str | None, Header()] = None,
    apiKey: Annotated[str | None, Query()] = None,
) -> None:
    """Lets an admin key pass."""
    engine.keys.require(authorization, apiKey, "admin")


EngineOf = Annotated[Engine, Depends(engine_of)]
REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorOut} for status in (400, 401, 403, 404, 409, 503)}

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], responses=REFUSALS, tags=["admin"])


async def _saved(
    engine: Engine, kind: DefinitionKind, key: str, text: str, must_be: str, settings: dict[str, Any] | None = None
) -> dict[str, Any]:
    stored, bound = await to_thread.run_sync(
        lambda: defining.save(
            engine.admin_store,
            engine.history,
            Definition(kind, key, text),
            engine.clock_ms(),
            settings=settings,
            author="admin",
            must_be=must_be,
        )
    )
    return {kind: shown(stored, bound.warnings)}


async def _deleted(engine: Engine, kind: DefinitionKind, key: str) -> Response:
    await to_thread.run_sync(
        lambda: defining.delete(engine.admin_store, engine.history, kind, key, engine.clock_ms(), "admin")
    )
    return Response(status_code=200)


async def _listed(engine: Engine, kind: DefinitionKind) -> dict[str, Any]:
    catalogue = await engine.current()
    return {f"{kind}s": [shown(one, catalogue.bounds[(kind, one.key)].warnings) for one in catalogue.of_kind(kind)]}


async def _one(engine: Engine, kind: DefinitionKind, key: str) -> dict[str, Any]:
    catalogue = await engine.current()
    stored = catalogue.definitions.get((kind, key))
    if stored is None:
        raise NotFound(f"{defining.title(kind)} not found", {"field": "key", "value": key})
    return {kind: shown(stored, catalogue.bounds[(kind, key)].warnings)}


# ── traits ───────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/traits")
async def create_trait(body: TraitBody, engine: EngineOf) -> Mapping[str, TraitOut]:
    """Saves a new trait. 409 where the key is taken."""
    return await _saved(engine, "trait", body.key, body.expression, "new")


@router.get("/traits")
async def list_traits(engine: EngineOf) -> Mapping[str, list[TraitOut]]:
    """All traits, by key."""
    return await _listed(engine, "trait")


@router.get("/traits/{key}")
async def read_trait(key: str, engine: EngineOf) -> Mapping[str, TraitOut]:
    """One trait."""
    return await _one(engine, "trait", key)


@router.put("/traits/{key}")
async def change_trait(key: str, body: TraitChange, engine: EngineOf) -> Mapping[str, TraitOut]:
    """Changes a trait; what uses it follows at once."""
    return await _saved(engine, "trait", key, body.expression, "old")


@router.delete("/traits/{key}")
async def delete_trait(key: str, engine: EngineOf) -> Response:
    """Deletes a trait. 409, naming them, while others use it."""
    return await _deleted(engine, "trait", key)


# ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/segments")
async def create_segment(body: RuleBody, engine: EngineOf) -> Mapping[str, RuleOut]:
    """Saves a new segment."""
    return await _saved(engine, "segment", body.key, body.rule, "new")


@router.get("/segments")
async def list_segments(engine: EngineOf) -> Mapping[str, list[RuleOut]]:
    """All segments, by key."""
    return await _listed(engine, "segment")


@router.get("/segments/{key}")
async def read_segment(key: str, engine: EngineOf) -> Mapping[str, RuleOut]:
    """One segment."""
    return await _one(engine, "segment", key)


@router.put("/segments/{key}")
async def change_segment(key: str, body: RuleChange, engine: EngineOf) -> Mapping[str, RuleOut]:
    """Changes a segment; what uses it follows at once."""
    return await _saved(engine, "segment", key, body.rule, "old")


@router.delete("/segments/{key}")
async def delete_segment(key: str, engine: EngineOf) -> Response:
    """Deletes a segment. 409, naming them, while others use it."""
    return await _deleted(engine, "segment", key)


# ── flags ────────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/flags")
async def create_flag(body: FlagBody, engine: EngineOf) -> Mapping[str, FlagOut]:
    """Saves a new flag."""
    settings = {"enabled": body.enabled, "default": body.default}
    return await _saved(engine, "flag", body.key, body.rule, "new", settings)


@router.get("/flags")
async def list_flags(engine: EngineOf) -> Mapping[str, list[FlagOut]]:
    """All flags, by key."""
    return await _listed(engine, "flag")


@router.get("/flags/{key}")
async def read_flag(key: str, engine: EngineOf) -> Mapping[str, FlagOut]:
    """One flag."""
    return await _one(engine, "flag", key)


@router.put("/flags/{key}")
async def change_flag(key: str, body: FlagChange, engine: EngineOf) -> Mapping[str, FlagOut]:
    """Changes a flag, at once in every process."""
    catalogue = await engine.current()
    held = catalogue.definitions.get(("flag", key))
    settings = dict(held.settings) if held else {}
    for name in ("enabled", "default"):
        if getattr(body, name) is not None:
            settings[name] = getattr(body, name)
    return await _saved(engine, "flag", key, body.rule, "old", settings)


@router.delete("/flags/{key}")
async def delete_flag(key: str, engine: EngineOf) -> Response:
    """Deletes a flag, at once in every process."""
    return await _deleted(engine, "flag", key)


# ── checking ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/validate", response_model_exclude_none=True)
async def validate(body: ValidateBody, engine: EngineOf) -> Validated:
    """Checks an expression as saving would, without saving it."""
    kinds: dict[str, DefinitionKind] = {"trait": "trait", "segment": "segment", "flag": "flag"}
    kind = kinds.get(body.type)
    if kind is None:
        raise invalid("type", body.type, "use trait, segment or flag", "Type must be one of: trait, segment, flag")
    if not body.expression.strip():
        raise invalid("expression", body.expression, "write one", "Expression is required and cannot be empty")
    catalogue = await engine.current()
    try:
        bound = defining.check(catalogue, Definition(kind, "unsaved_expression", body.expression))
    except Invalid as refusal:
        return Validated(valid=False, error=refusal.message, details=refusal.details)
    return Validated(valid=True, type=sorted(dtype_of(bound.expr)), warnings=list(bound.warnings))
