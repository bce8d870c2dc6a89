"""Definitions over HTTP: create, read, change, delete, bring back, check. Rare calls, which run in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from anyio import to_thread
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response

from expressions.definitions import Bound, Definition, DefinitionKind
from serving.access import audit
from serving.api.dependencies import IN_THE_WAY, MISSING, Admin, EngineOf, require_admin
from serving.api.wire.definitions import (
    Described,
    RollbackBody,
    RuleBody,
    RuleChange,
    RuleOut,
    TraitBody,
    TraitChange,
    TraitOut,
    VersionList,
    wire_definition,
)
from serving.api.wire.flags import FlagBody, FlagChange, FlagFields, FlagOut
from serving.definitions import flags, saving
from serving.definitions.catalogue import StoredDefinition
from serving.engine import Engine
from serving.lookups.unseen import unseen
from serving.refusals import NotFound
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["admin"])

#: As paths name the kinds.
Kinds: TypeAlias = Literal["traits", "segments", "flags"]
KIND_OF: dict[Kinds, DefinitionKind] = {"traits": "trait", "segments": "segment", "flags": "flag"}
#: The key in a path, with the example that the bodies have: who tries them one after the other finds it.
InTraits: TypeAlias = Annotated[str, Path(examples=["orders_30d"])]
InSegments: TypeAlias = Annotated[str, Path(examples=["loyal"])]
InFlags: TypeAlias = Annotated[str, Path(examples=["free_shipping"])]
#: Definitions on a page, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 1_000, 10_000, 1_000_000
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Offset = Annotated[int, Query(ge=0, le=OFFSET_MAX)]


async def _saved(
    engine: Engine,
    author: str,
    definition: Definition,
    must_be: saving.MustBe,
    settings: Callable[[dict[str, Any]], dict[str, Any]],
    action: str = "save",
    keeps_expression: bool = False,
) -> dict[str, Any]:
    """Saves, and notes who did."""
    kind, key = definition.kind, definition.key

    def save() -> tuple[StoredDefinition, Bound]:
        saved = saving.save(
            engine.admin_store,
            engine.history,
            definition,
            engine.clock_ms(),
            settings=settings,
            author=author,
            must_be=must_be,
            keeps_expression=keeps_expression,
            definitions_max=engine.settings.definitions_max,
        )
        audit.note(engine.history, saved[0].updated_ms, author, action, kind, key, {"version": saved[0].version})
        return saved

    stored, bound = await to_thread.run_sync(save)
    return {kind: wire_definition(stored, await unseen(engine, bound))}


async def _deleted(engine: Engine, author: str, kind: DefinitionKind, key: str) -> Response:
    def delete() -> None:
        now_ms = engine.clock_ms()
        saving.delete(engine.admin_store, engine.history, kind, key, now_ms, author)
        audit.note(engine.history, now_ms, author, "delete", kind, key)

    await to_thread.run_sync(delete)
    return Response(status_code=200)


async def _listed(engine: Engine, kind: DefinitionKind, limit: int, offset: int) -> dict[str, Any]:
    catalogue = await engine.current()
    held = catalogue.of_kind(kind)
    page = held[offset : offset + limit]
    return {f"{kind}s": [wire_definition(one) for one in page]}


async def _one(engine: Engine, kind: DefinitionKind, key: str) -> dict[str, Any]:
    catalogue = await engine.current()
    stored = catalogue.definitions.get((kind, key))
    if stored is None:
        raise NotFound(f"{saving.title(kind)} not found", {"field": "key", "value": key})
    return {kind: wire_definition(stored)}


def _with(body: Described, *names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Settings with those of a body, as far as it has them."""
    given = {name: getattr(body, name) for name in ("description", "owner", "tags", *names)}
    return lambda held: held | {name: value for name, value in given.items() if value is not None}


def _flag_settings(body: FlagFields) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda held: flags.settings_after(held, body.settings())


# ── traits ───────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/traits", responses=IN_THE_WAY)
async def create_trait(body: TraitBody, engine: EngineOf, caller: Admin) -> Mapping[str, TraitOut]:
    """Saves a new trait. 409 where the key is taken."""
    return await _saved(
        engine, caller.label, Definition("trait", body.key, body.expression), "new", _with(body), "create"
    )


@router.get("/traits")
async def list_traits(engine: EngineOf, limit: Limit = PAGE, offset: Offset = 0) -> Mapping[str, list[TraitOut]]:
    """Traits, by key."""
    return await _listed(engine, "trait", limit, offset)


@router.get("/traits/{key}", responses=MISSING)
async def read_trait(key: InTraits, engine: EngineOf) -> Mapping[str, TraitOut]:
    """One trait."""
    return await _one(engine, "trait", key)


@router.put("/traits/{key}", responses=MISSING)
async def change_trait(key: InTraits, body: TraitChange, engine: EngineOf, caller: Admin) -> Mapping[str, TraitOut]:
    """Changes a trait; what uses it follows at once."""
    return await _saved(engine, caller.label, Definition("trait", key, body.expression), "old", _with(body))


@router.delete("/traits/{key}", responses=MISSING | IN_THE_WAY)
async def delete_trait(key: InTraits, engine: EngineOf, caller: Admin) -> Response:
    """Deletes a trait. 409, naming them, while others use it."""
    return await _deleted(engine, caller.label, "trait", key)


# ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/segments", responses=IN_THE_WAY)
async def create_segment(body: RuleBody, engine: EngineOf, caller: Admin) -> Mapping[str, RuleOut]:
    """Saves a new segment."""
    return await _saved(engine, caller.label, Definition("segment", body.key, body.rule), "new", _with(body), "create")


@router.get("/segments")
async def list_segments(engine: EngineOf, limit: Limit = PAGE, offset: Offset = 0) -> Mapping[str, list[RuleOut]]:
    """Segments, by key."""
    return await _listed(engine, "segment", limit, offset)


@router.get("/segments/{key}", responses=MISSING)
async def read_segment(key: InSegments, engine: EngineOf) -> Mapping[str, RuleOut]:
    """One segment."""
    return await _one(engine, "segment", key)


@router.put("/segments/{key}", responses=MISSING)
async def change_segment(key: InSegments, body: RuleChange, engine: EngineOf, caller: Admin) -> Mapping[str, RuleOut]:
    """Changes a segment; what uses it follows at once."""
    return await _saved(engine, caller.label, Definition("segment", key, body.rule), "old", _with(body))


@router.delete("/segments/{key}", responses=MISSING | IN_THE_WAY)
async def delete_segment(key: InSegments, engine: EngineOf, caller: Admin) -> Response:
    """Deletes a segment. 409, naming them, while others use it."""
    return await _deleted(engine, caller.label, "segment", key)


# ── flags ────────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/flags", responses=IN_THE_WAY)
async def create_flag(body: FlagBody, engine: EngineOf, caller: Admin) -> Mapping[str, FlagOut]:
    """Saves a new flag."""
    rule = "true" if body.rule is None else body.rule
    definition = Definition("flag", body.key, rule)
    return await _saved(engine, caller.label, definition, "new", _flag_settings(body), "create")


@router.get("/flags")
async def list_flags(engine: EngineOf, limit: Limit = PAGE, offset: Offset = 0) -> Mapping[str, list[FlagOut]]:
    """Flags, by key."""
    return await _listed(engine, "flag", limit, offset)


@router.get("/flags/{key}", responses=MISSING)
async def read_flag(key: InFlags, engine: EngineOf) -> Mapping[str, FlagOut]:
    """One flag."""
    return await _one(engine, "flag", key)


@router.put("/flags/{key}", responses=MISSING)
async def change_flag(key: InFlags, body: FlagChange, engine: EngineOf, caller: Admin) -> Mapping[str, FlagOut]:
    """Changes a flag, at once in every process."""
    definition = Definition("flag", key, body.rule or "")
    keeps = body.rule is None
    return await _saved(engine, caller.label, definition, "old", _flag_settings(body), keeps_expression=keeps)


@router.delete("/flags/{key}", responses=MISSING | IN_THE_WAY)
async def delete_flag(key: InFlags, engine: EngineOf, caller: Admin) -> Response:
    """Deletes a flag, at once in every process."""
    return await _deleted(engine, caller.label, "flag", key)


# ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/{kinds}/{key}/history", responses=MISSING)
async def read_history(kinds: Kinds, key: str, engine: EngineOf) -> VersionList:
    """Every version of a definition, the newest first; of a deleted one too."""
    versions = await to_thread.run_sync(lambda: engine.history.definition_versions(KIND_OF[kinds], key))
    if not versions:
        raise NotFound(f"{saving.title(KIND_OF[kinds])} not found", {"field": "key", "value": key})
    return VersionList.model_validate(
        {
            "versions": [
                {
                    "version": one.version,
                    "expression": one.expression,
                    "author": one.author,
                    "updated_at": rfc3339(one.updated_ms),
                    "deleted": one.deleted,
                    "settings": one.settings,
                }
                for one in versions
            ]
        }
    )


@router.post("/{kinds}/{key}/rollback", responses=MISSING)
async def roll_back(
    kinds: Kinds, key: str, body: RollbackBody, engine: EngineOf, caller: Admin
) -> Mapping[str, TraitOut | FlagOut | RuleOut]:
    """Saves an older version again, as a new one; a deleted definition comes back with it."""
    kind = KIND_OF[kinds]
    versions = await to_thread.run_sync(lambda: engine.history.definition_versions(kind, key))
    found = next((one for one in versions if one.version == body.version and not one.deleted), None)
    if found is None:
        known = [one.version for one in versions if not one.deleted]
        raise NotFound(
            f"{saving.title(kind)} '{key}' has no version {body.version}",
            {"field": "version", "value": body.version, "known": known[:100]},
        )
    definition = Definition(kind, key, found.expression)
    return await _saved(engine, caller.label, definition, "any", lambda held: found.settings, "rollback")
