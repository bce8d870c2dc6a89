"""Definitions over HTTP: created, listed, read, changed, deleted, brought back. Saving runs in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import structlog
from anyio import move_on_after, to_thread
from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import Response

from expressions.definitions import Definition, DefinitionKind
from serving.access.keys import Caller
from serving.api.dependencies import CHANGED, CONFLICT, NOT_FOUND, Admin, EngineOf, Responses, require_admin
from serving.api.wire.definitions import (
    NOTE_CHARACTERS_MAX,
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
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.engine import Engine
from serving.history import History, away
from serving.http.answers import json_answer
from serving.http.conditions import client_knows
from serving.lookups.warnings import warnings
from serving.refusals import Changed, NotFound, Refusal, Unavailable
from serving.store.errors import StoreError
from serving.times import rfc3339

log = structlog.get_logger()

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["admin"])

#: The kinds of definitions as paths name them.
Kinds: TypeAlias = Literal["traits", "segments", "flags"]
KIND_OF: dict[Kinds, DefinitionKind] = {"traits": "trait", "segments": "segment", "flags": "flag"}
OUT: dict[DefinitionKind, type[TraitOut | RuleOut]] = {"trait": TraitOut, "segment": RuleOut, "flag": FlagOut}
#: A key in a path. The example is that of the bodies: somebody who tries the calls in their order finds it.
InTraits: TypeAlias = Annotated[str, Path(examples=["orders_30d"])]
InSegments: TypeAlias = Annotated[str, Path(examples=["loyal"])]
InFlags: TypeAlias = Annotated[str, Path(examples=["free_shipping"])]
#: Answers with a definition have its version as their tag.
TAGGED: Responses = {200: {"headers": {"ETag": {"description": "its version", "schema": {"type": "string"}}}}}
#: The rule of a flag that has none.
EVERYBODY = "true"
#: Definitions on a page, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 1_000, 10_000, 1_000_000
#: A save waits so long for the lake's history; what is not written then is pending.
HISTORY_S = 2.0
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Offset = Annotated[int, Query(ge=0, le=OFFSET_MAX)]
Note = Annotated[
    str | None, Query(max_length=NOTE_CHARACTERS_MAX, description="why, for the history and the audit log")
]


@dataclass(frozen=True)
class Asked:
    """A call that reads or saves one definition: who asks, which versions they know, and the answer that gets a tag."""

    engine: Engine
    caller: Caller
    answer: Response
    if_match: str | None = None

    def tagged(self, stored: StoredDefinition) -> None:
        """Gives the answer the tag of a definition: its version."""
        self.answer.headers["ETag"] = tag_of(stored.version)

    @property
    def knows(self) -> saving.Knows | None:
        """Whether the caller knows a version; None where they do not say what they know."""
        return None if self.if_match is None else lambda version: client_knows(self.if_match, tag_of(version))


async def _asked(engine: EngineOf, caller: Admin, answer: Response) -> Asked:
    return Asked(engine, caller, answer)


async def _asked_if(
    engine: EngineOf,
    caller: Admin,
    answer: Response,
    if_match: Annotated[
        str | None, Header(description="the ETag of the version that was read; of any other the call is refused")
    ] = None,
) -> Asked:
    return Asked(engine, caller, answer, if_match)


Ask = Annotated[Asked, Depends(_asked)]
#: The same for a call that may name the version that it changes.
AskIf = Annotated[Asked, Depends(_asked_if)]


def tag_of(version: int) -> str:
    """The entity tag of a version of a definition."""
    return f'"{version}"'


async def _save(
    asked: Asked,
    definition: Definition,
    must_be: saving.MustBe,
    settings: Callable[[dict[str, Any]], dict[str, Any]],
    note: str | None,
    action: str = "save",
    keeps_expression: bool = False,
) -> dict[str, Any]:
    """The saved definition by its kind, as the wire shows it."""
    engine = asked.engine
    lake = await _lake(engine)

    def save() -> tuple[StoredDefinition, Catalogue]:
        return saving.save(
            engine.admin_store,
            lake.holds_events,
            definition,
            engine.clock_ms(),
            action=action,
            settings=settings,
            author=asked.caller.label,
            note=note or "",
            must_be=must_be,
            knows=asked.knows,
            keeps_expression=keeps_expression,
            definitions_max=engine.settings.definitions_max,
        )

    try:
        stored, catalogue = await to_thread.run_sync(save)
    except saving.Outdated as outdated:
        raise await _changed(asked, definition.kind, definition.key, outdated) from None
    asked.tagged(stored)
    # The three are asked at once: each may be slow by itself.
    is_written, warned, sizes = await asyncio.gather(
        _is_written_down(engine, lake),
        warnings(engine, catalogue.bounds[stored.kind, stored.key]),
        _sizes_if_known(engine),
    )
    used_by = catalogue.dependents.get((stored.kind, stored.key), ())
    size = sizes.of(stored)
    return {definition.kind: wire_definition(stored, warned, not is_written, used_by, size)}


async def _delete(asked: Asked, kind: DefinitionKind, key: str, note: str | None) -> Response:
    engine = asked.engine
    lake = await _lake(engine)

    def delete() -> None:
        author = asked.caller.label
        now_ms = engine.clock_ms()
        saving.delete(engine.admin_store, lake.holds_events, kind, key, now_ms, author, note or "", asked.knows)

    try:
        await to_thread.run_sync(delete)
    except saving.Outdated as outdated:
        raise await _changed(asked, kind, key, outdated) from None
    if await _is_written_down(engine, lake):
        return Response(status_code=200)
    return json_answer({"history": "pending"})


async def _changed(asked: Asked, kind: DefinitionKind, key: str, outdated: saving.Outdated) -> Changed:
    """The refusal of a save whose caller knows another version: it has the one in force, by whom and when."""
    details: dict[str, Any] = {"field": "If-Match", "value": asked.if_match}
    current = outdated.current
    if current is None:
        details |= {"remedy": "leave If-Match out to bring it back", "deleted": True, "version": None}
        return Changed(f"{saving.title(kind)} '{key}' is deleted", details)
    as_it_is = _as_it_is(current, outdated.catalogue, await _sizes(asked.engine))
    details |= {
        "remedy": "read it again, and decide anew",
        "deleted": False,
        "version": current.version,
        "author": current.author,
        "updated_at": rfc3339(current.updated_ms),
        "definition": OUT[kind].model_validate(as_it_is).model_dump(),
        "note": current.note,
    }
    by = f" by {current.author}" if current.author else ""
    return Changed(f"{saving.title(kind)} '{key}' was changed{by} at {details['updated_at']}", details)


class _AwayLake:
    """The door to a lake that does not answer: who asks does not wait for it."""

    def holds_events(self) -> bool:
        raise away()

    def append_definitions(self, changes: Sequence[Mapping[str, Any]]) -> None:
        raise away()


async def _lake(engine: Engine) -> History | _AwayLake:
    """The door to the lake, if it answered at the last look."""
    seen = await engine.lake_seen.seen()
    return engine.history if seen.error is None else _AwayLake()


async def _is_written_down(engine: Engine, lake: History | _AwayLake) -> bool:
    """Whether the lake's history has all that was saved. Waits for at most `HISTORY_S`; later the drain writes it.

    Those who save while somebody writes are in one commit together, the next: one after the other they would wait long.
    """

    def write() -> bool:
        try:
            return saving.write_down(engine.admin_store, lake.append_definitions, HISTORY_S)
        except (Unavailable, StoreError) as error:
            log.warning("history_pending", error=str(error))
        except Exception as error:  # the definition is in force: whoever saved it must not read that it failed
            log.error("history_pending", exc_info=error)
        return False

    async def ask(_: object) -> bool:
        return await to_thread.run_sync(write, abandon_on_cancel=True)

    with move_on_after(HISTORY_S):
        return await engine.history_written.of([], ask)
    return False


async def _list(engine: Engine, kind: DefinitionKind, limit: int, offset: int) -> dict[str, Any]:
    catalogue = await engine.current()
    sizes = await _sizes(engine)
    page = catalogue.of_kind(kind)[offset : offset + limit]
    return {f"{kind}s": [_as_it_is(stored, catalogue, sizes) for stored in page]}


async def _read(asked: Asked, kind: DefinitionKind, key: str) -> dict[str, Any]:
    catalogue = await asked.engine.current()
    stored = catalogue.definitions.get((kind, key))
    if stored is None:
        raise NotFound(f"{saving.title(kind)} not found", {"field": "key", "value": key})
    asked.tagged(stored)
    return {kind: _as_it_is(stored, catalogue, await _sizes(asked.engine))}


def _as_it_is(stored: StoredDefinition, catalogue: Catalogue, sizes: Sizes) -> dict[str, Any]:
    used_by = catalogue.dependents.get((stored.kind, stored.key), ())
    return wire_definition(stored, used_by=used_by, size=sizes.of(stored))


class Sizes(msgspec.Struct, frozen=True):
    """How many users traits and segments are about, as the last full rebuild counted them, as of `as_of`."""

    as_of: int | None = None
    traits: dict[str, int] = {}
    segments: dict[str, int] = {}

    def of(self, stored: StoredDefinition) -> int | None:
        """The users of a definition; None of a flag, and of one that was saved after the rebuild."""
        if stored.kind == "flag" or self.as_of is None or stored.updated_ms > self.as_of:
            return None
        return (self.traits if stored.kind == "trait" else self.segments).get(stored.key, 0)


_sizes_of = msgspec.json.Decoder(Sizes).decode


async def _sizes(engine: Engine) -> Sizes:
    text, _ = await engine.with_refusals(engine.store.totals())
    return Sizes() if text is None else _sizes_of(text)


async def _sizes_if_known(engine: Engine) -> Sizes:
    try:
        return await _sizes(engine)
    except Refusal:  # the definition is saved
        return Sizes()


def _settings(body: Described) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function from the settings so far to the settings after a change: those that the body has are replaced.

    Null takes a setting out.
    """
    changes = body.model_dump(include=set(Described.model_fields) - {"note"}, exclude_unset=True)
    return lambda settings: {name: value for name, value in (settings | changes).items() if value is not None}


def _flag_settings(key: str, body: FlagFields) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The same for a flag, whose settings are checked together."""
    return lambda settings: flags.settings_after(key, settings, body.settings())


# ── traits ───────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/traits", responses=TAGGED | CONFLICT)
async def create_trait(body: TraitBody, asked: Ask) -> Mapping[str, TraitOut]:
    """Saves a new trait. It is refused with 409 where the key is taken."""
    return await _save(
        asked, Definition("trait", body.key, body.expression), "new", _settings(body), body.note, "create"
    )


@router.get("/traits")
async def list_traits(engine: EngineOf, limit: Limit = PAGE, offset: Offset = 0) -> Mapping[str, list[TraitOut]]:
    """Traits, by key."""
    return await _list(engine, "trait", limit, offset)


@router.get("/traits/{key}", responses=TAGGED | NOT_FOUND)
async def read_trait(key: InTraits, asked: Ask) -> Mapping[str, TraitOut]:
    """One trait."""
    return await _read(asked, "trait", key)


@router.put("/traits/{key}", responses=TAGGED | NOT_FOUND | CHANGED)
async def change_trait(key: InTraits, body: TraitChange, asked: AskIf) -> Mapping[str, TraitOut]:
    """Changes a trait. Definitions that use it change with it, at once."""
    return await _save(asked, Definition("trait", key, body.expression), "old", _settings(body), body.note)


@router.delete("/traits/{key}", responses=NOT_FOUND | CONFLICT | CHANGED)
async def delete_trait(key: InTraits, asked: AskIf, note: Note = None) -> Response:
    """Deletes a trait. It is refused with 409 while other definitions use it; the refusal names them."""
    return await _delete(asked, "trait", key, note)


# ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/segments", responses=TAGGED | CONFLICT)
async def create_segment(body: RuleBody, asked: Ask) -> Mapping[str, RuleOut]:
    """Saves a new segment. It is refused with 409 where the key is taken."""
    return await _save(asked, Definition("segment", body.key, body.rule), "new", _settings(body), body.note, "create")


@router.get("/segments")
async def list_segments(engine: EngineOf, limit: Limit = PAGE, offset: Offset = 0) -> Mapping[str, list[RuleOut]]:
    """Segments, by key."""
    return await _list(engine, "segment", limit, offset)


@router.get("/segments/{key}", responses=TAGGED | NOT_FOUND)
async def read_segment(key: InSegments, asked: Ask) -> Mapping[str, RuleOut]:
    """One segment."""
    return await _read(asked, "segment", key)


@router.put("/segments/{key}", responses=TAGGED | NOT_FOUND | CHANGED)
async def change_segment(key: InSegments, body: RuleChange, asked: AskIf) -> Mapping[str, RuleOut]:
    """Changes a segment. Definitions that use it change with it, at once."""
    return await _save(asked, Definition("segment", key, body.rule), "old", _settings(body), body.note)


@router.delete("/segments/{key}", responses=NOT_FOUND | CONFLICT | CHANGED)
async def delete_segment(key: InSegments, asked: AskIf, note: Note = None) -> Response:
    """Deletes a segment. It is refused with 409 while other definitions use it; the refusal names them."""
    return await _delete(asked, "segment", key, note)


# ── flags ────────────────────────────────────────────────────────────────────────────────────────────────────────


@router.post("/flags", responses=TAGGED | CONFLICT)
async def create_flag(body: FlagBody, asked: Ask) -> Mapping[str, FlagOut]:
    """Saves a new flag. It is refused with 409 where the key is taken."""
    rule = EVERYBODY if body.rule is None else body.rule
    definition = Definition("flag", body.key, rule)
    return await _save(asked, definition, "new", _flag_settings(body.key, body), body.note, "create")


@router.get("/flags")
async def list_flags(engine: EngineOf, limit: Limit = PAGE, offset: Offset = 0) -> Mapping[str, list[FlagOut]]:
    """Flags, by key."""
    return await _list(engine, "flag", limit, offset)


@router.get("/flags/{key}", responses=TAGGED | NOT_FOUND)
async def read_flag(key: InFlags, asked: Ask) -> Mapping[str, FlagOut]:
    """One flag."""
    return await _read(asked, "flag", key)


@router.put("/flags/{key}", responses=TAGGED | NOT_FOUND | CHANGED)
async def change_flag(key: InFlags, body: FlagChange, asked: AskIf) -> Mapping[str, FlagOut]:
    """Changes a flag, at once in every process."""
    definition = Definition("flag", key, EVERYBODY if body.rule is None else body.rule)
    keeps = "rule" not in body.model_fields_set
    return await _save(asked, definition, "old", _flag_settings(key, body), body.note, keeps_expression=keeps)


@router.delete("/flags/{key}", responses=NOT_FOUND | CONFLICT | CHANGED)
async def delete_flag(key: InFlags, asked: AskIf, note: Note = None) -> Response:
    """Deletes a flag, at once in every process. It is refused with 409 while other flags need it."""
    return await _delete(asked, "flag", key, note)


# ── versions ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _versions(engine: Engine, kind: DefinitionKind, key: str) -> list[StoredDefinition]:
    """Every version of a definition, the newest first, with those that wait for the lake."""
    waiting = [stored for stored in saving.unwritten(engine.admin_store) if (stored.kind, stored.key) == (kind, key)]
    versions = {stored.version: stored for stored in engine.history.definition_versions(kind, key)}
    versions |= {stored.version: stored for stored in waiting}
    return sorted(versions.values(), key=attrgetter("version"), reverse=True)


@router.get("/{kinds}/{key}/history", responses=NOT_FOUND)
async def read_history(kinds: Kinds, key: str, engine: EngineOf) -> VersionList:
    """Every version of a definition, the newest first; deleted definitions have theirs too."""
    versions = await to_thread.run_sync(_versions, engine, KIND_OF[kinds], key)
    if not versions:
        raise NotFound(f"{saving.title(KIND_OF[kinds])} not found", {"field": "key", "value": key})
    return VersionList.model_validate(
        {
            "versions": [
                {
                    "version": stored.version,
                    "expression": stored.expression,
                    "author": stored.author,
                    "updated_at": rfc3339(stored.updated_ms),
                    "deleted": stored.deleted,
                    "settings": stored.settings,
                    "note": stored.note,
                }
                for stored in versions
            ]
        }
    )


def restorable(engine: Engine, kind: DefinitionKind, key: str, version: int) -> StoredDefinition:
    """A version of a definition that can be saved again. Raises `NotFound`, `Unavailable`."""
    known = {stored.version: stored for stored in _versions(engine, kind, key) if not stored.deleted}
    if version not in known:
        raise NotFound(
            f"{saving.title(kind)} '{key}' has no version {version}",
            {"field": "version", "value": version, "known": list(known)[:100]},
        )
    return known[version]


@router.post("/{kinds}/{key}/rollback", responses=TAGGED | NOT_FOUND | CHANGED)
async def roll_back(
    kinds: Kinds, key: str, body: RollbackBody, asked: AskIf
) -> Mapping[str, TraitOut | FlagOut | RuleOut]:
    """Saves an older version again, as a new one. A deleted definition comes back with it."""
    kind = KIND_OF[kinds]
    chosen = await to_thread.run_sync(restorable, asked.engine, kind, key, body.version)
    definition = Definition(kind, key, chosen.expression)
    return await _save(asked, definition, "any", lambda settings: chosen.settings, body.note, "rollback")
