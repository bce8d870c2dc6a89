"""The audit log over HTTP: what admins did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from pydantic import StringConstraints

from serving.access import audit
from serving.api.definitions import OUT
from serving.api.dependencies import EngineOf, require_admin
from serving.api.periods import From, To, open_period_of
from serving.api.wire.audit import AuditPage
from serving.api.wire.definitions import wire_definition
from serving.definitions.catalogue import StoredDefinition

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["access"])

#: Entries on a page, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 100, 1_000, 10_000_000

Part: TypeAlias = Annotated[str, StringConstraints(max_length=300)]


@router.get("/audit")
async def read_audit(
    engine: EngineOf,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
    kind: Annotated[Part | None, Query(description="of what: trait, segment, flag, key, user, rejected")] = None,
    key: Annotated[Part | None, Query(description="a part of its key or id, in any case")] = None,
    author: Annotated[
        Part | None, Query(description="a part of the label of the key that was used, in any case")
    ] = None,
    since: From = None,
    until: To = None,
) -> AuditPage:
    """A page of what admins did, the newest first; of a kind, key, author or period where one is named."""
    sought = audit.Sought(kind, key, author, *open_period_of(since, until))
    page = await to_thread.run_sync(lambda: audit.page(engine.history, limit, offset, sought))
    return AuditPage.model_validate(page | {"entries": [_with_diff(entry) for entry in page["entries"]]})


#: What is not of a version of a definition, but of now or of its save.
NOT_OF_A_VERSION = ("used_by", "size", "warnings", "history")
#: What differs between any two versions.
ALWAYS_CHANGED = {"version", "author", "created_at", "updated_at"}


def _with_diff(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with the two versions that it stands between, and what differs."""
    before, after = _version(entry["before"]), _version(entry["after"])
    both = {**(before or {}), **(after or {})}.keys() - ALWAYS_CHANGED
    changed = sorted(name for name in both if (before or {}).get(name) != (after or {}).get(name))
    note = entry["after"].note if entry["after"] else ""
    return {**entry, "before": before, "after": after, "changed": changed if before and after else [], "note": note}


def _version(stored: StoredDefinition | None) -> dict[str, Any] | None:
    if stored is None or stored.deleted:
        return None
    wire = OUT[stored.kind].model_validate(wire_definition(stored)).model_dump()
    return {name: value for name, value in wire.items() if name not in NOT_OF_A_VERSION}
