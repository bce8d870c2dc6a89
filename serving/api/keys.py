"""API keys over HTTP: made, listed and revoked by admins."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Depends
from fastapi.responses import Response

from serving.access import audit, made_keys
from serving.api.dependencies import CONFLICT, NOT_FOUND, Admin, EngineOf, require_admin
from serving.api.wire.keys import CreatedKey, KeyBody, KeyList
from serving.times import rfc3339

router = APIRouter(prefix="/v1/admin", dependencies=[Depends(require_admin)], tags=["access"])


@router.post("/keys")
async def create_key(body: KeyBody, engine: EngineOf, caller: Admin) -> CreatedKey:
    """Makes a key of a kind, and shows its text once.

    write sends events, read asks for decisions, profile also reads a user's traits, viewer also sees what admins see,
    admin does all.
    """
    now_ms = engine.clock_ms()

    def create() -> tuple[made_keys.ApiKey, str]:
        label = body.label or body.description or ""
        key, text = made_keys.create(engine.admin_store, engine.history, body.kind, label, caller.label, now_ms)
        audit.note(engine.history, now_ms, caller.label, "create", "key", key.id, {"kind": body.kind})
        return key, text

    key, text = await to_thread.run_sync(create)
    await engine.follow_keys()
    return CreatedKey(id=key.id, key=text, kind=key.kind, label=key.label, created_at=rfc3339(now_ms))


@router.get("/keys")
async def list_keys(engine: EngineOf) -> KeyList:
    """All keys, revoked ones too, and when each was used last, to about a second. The text of a key is never shown."""

    def read() -> list[dict[str, Any]]:
        store = engine.admin_store
        return made_keys.listed(engine.keys, made_keys.made(store), store.keys_used())

    return KeyList.model_validate({"keys": await to_thread.run_sync(read)})


@router.delete("/keys/{key_id}", responses=NOT_FOUND | CONFLICT)
async def revoke_key(key_id: str, engine: EngineOf, caller: Admin) -> Response:
    """Revokes a key for good: at once in this process, within a second in others."""
    now_ms = engine.clock_ms()

    def revoke() -> None:
        made_keys.revoke(engine.admin_store, engine.history, engine.keys, key_id, now_ms)
        audit.note(engine.history, now_ms, caller.label, "revoke", "key", key_id)

    await to_thread.run_sync(revoke)
    await engine.follow_keys()
    return Response(status_code=200)
