"""Exports over HTTP: started, followed, listed, and their files: the members of a segment as CSV."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any
from urllib.parse import urlencode

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from serving.access import audit
from serving.access.signing import Signer
from serving.api.dependencies import ERROR_IN_JSON, NOT_FOUND, Admin, EngineOf, Responses, reached_at, require_admin
from serving.api.wire.exports import ExportedOut, ExportList, ExportOut
from serving.history import AWAY, away
from serving.lookups.export_runs import Export, ExportRuns
from serving.refusals import NotFound
from serving.times import rfc3339

#: How long an address opens its file.
OPEN_S = 3_600
#: Latest instant of an address (Unix seconds), and characters of its signature.
EXPIRES_S_MAX, SIGNATURE_CHARACTERS_MAX = 2**40, 200
#: Files on a page of the list, if not said otherwise and at most, and how many may be passed over.
PAGE, PAGE_MAX, OFFSET_MAX = 100, 1_000, 1_000_000
#: The names of exports. Any other file in their folder is neither listed nor given out.
NAME = re.compile(r"segment_[A-Za-z0-9_]+_\d{4}-\d{2}-\d{2}\.csv")

#: `NOT_FOUND` where the answer is CSV and the refusal is JSON.
_NOT_FOUND_IN_JSON: Responses = {404: {"description": NOT_FOUND[404]["description"], **ERROR_IN_JSON}}
_NOT_GIVEN_OUT: Responses = {403: {"description": "The address was not given out, or it has expired.", **ERROR_IN_JSON}}
router = APIRouter(prefix="/v1/export", dependencies=[Depends(require_admin)], tags=["exports"])
files = APIRouter(prefix="/exports/files", responses=_NOT_FOUND_IN_JSON | _NOT_GIVEN_OUT, tags=["exports"])


class Csv(StreamingResponse):
    """CSV in UTF-8, sent some bytes at a time."""

    media_type = "text/csv"


async def runs_of(request: Request) -> ExportRuns:
    """The exports of this process."""
    runs: ExportRuns = request.app.state.exports
    return runs


RunsOf = Annotated[ExportRuns, Depends(runs_of)]


@router.get("/list", response_model_exclude_none=True)
async def list_exports(
    request: Request,
    engine: EngineOf,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE,
    offset: Annotated[int, Query(ge=0, le=OFFSET_MAX)] = 0,
) -> ExportList:
    """The files that are kept, the newest first, each with an address that opens for an hour."""
    stored = [file for file in await to_thread.run_sync(engine.history.exports) if NAME.fullmatch(file.name)]
    exports = [
        {
            "name": file.name,
            "size": file.size,
            "etag": file.etag,
            "created_at": rfc3339(int(file.modified.timestamp() * 1000)),
            "downloadUrl": await _url(request, file.name),
        }
        for file in stored[offset : offset + limit]
    ]
    has_more = offset + limit < len(stored)
    return ExportList.model_validate({"exports": exports, "total": len(stored), "hasMore": has_more})


# Above `/segment/{key}`, which would take the suffix for a part of the key.
@router.get("/segment/{key}.csv", response_class=Csv, responses=_NOT_FOUND_IN_JSON)
async def segment_csv(key: str, engine: EngineOf, runs: RunsOf, caller: Admin) -> Csv:
    """The members of a segment as they are now, as CSV. The answer begins when the export is done.

    A large export takes minutes: start it with `POST /v1/export/segment/{key}` instead.
    """
    export = await runs.start(key)
    await _note(engine, caller.label, export)
    return await _csv(engine, (await runs.ended(export)).filename)


@router.get("/segment/{key}", responses=NOT_FOUND)
async def export_segment(key: str, request: Request, engine: EngineOf, runs: RunsOf, caller: Admin) -> ExportedOut:
    """Exports the members of a segment as they are now, and answers when that is done."""
    export = await runs.start(key)
    await _note(engine, caller.label, export)
    await runs.ended(export)
    url = await _url(request, export.filename)
    return ExportedOut(downloadUrl=url, filename=export.filename, userCount=export.members)


@router.post("/segment/{key}.csv", responses=NOT_FOUND)
@router.post("/segment/{key}", responses=NOT_FOUND)
async def start_export(key: str, request: Request, engine: EngineOf, runs: RunsOf, caller: Admin) -> ExportOut:
    """Starts an export and answers at once. `GET /v1/export/{id}` says how far it is.

    An export of the segment that waits already is the answer, and none is started. The suffix changes nothing here: the
    file is CSV either way.
    """
    export = await runs.start(key)
    await _note(engine, caller.label, export)
    return await _wire_export(request, export)


@router.get("/{export_id}", responses=NOT_FOUND)
async def read_export(export_id: str, request: Request, runs: RunsOf) -> ExportOut:
    """How far an export is, and where its file is once it is done. It can be asked for a day after its end."""
    return await _wire_export(request, await runs.find(export_id))


@files.get("/{name}", response_class=Csv)
async def download(
    name: str,
    request: Request,
    engine: EngineOf,
    expires: Annotated[int, Query(ge=0, le=EXPIRES_S_MAX)],
    signature: Annotated[str, Query(max_length=SIGNATURE_CHARACTERS_MAX)],
) -> Csv:
    """A file, by an address that was given out at most an hour ago. No key is needed: the signature is one."""
    signer: Signer = request.app.state.signer
    signer.require(name, expires, signature, time.time())
    return await _csv(engine, name)


async def _csv(engine: EngineOf, name: str) -> Csv:
    """The answer that sends a file. Its first bytes are read here, so that a missing file is still a 404."""
    file = await to_thread.run_sync(engine.history.export, name) if NAME.fullmatch(name) else None
    if file is None:
        raise NotFound("Export not found", {"field": "name", "value": name, "remedy": "ask for the export again"})
    chunks = engine.history.export_chunks(name)
    try:
        first = await anext(chunks, b"")
    except FileNotFoundError:
        raise NotFound("Export not found", {"field": "name", "value": name}) from None
    except AWAY as error:
        raise away() from error

    async def body() -> Any:
        yield first
        async for chunk in chunks:
            yield chunk

    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Csv(body(), headers=headers)


async def _url(request: Request, name: str) -> str:
    """The address that gives a file for an hour: the object store's, or this API's where the lake is a folder."""
    engine, signer = request.app.state.engine, request.app.state.signer
    store_url: str | None = await to_thread.run_sync(engine.history.store_url, name, OPEN_S)
    if store_url is not None:
        return store_url
    expires_s = int(time.time()) + OPEN_S
    query = urlencode({"expires": expires_s, "signature": signer.signature(name, expires_s)})
    return f"{reached_at(request)}/exports/files/{name}?{query}"


async def _wire_export(request: Request, export: Export) -> ExportOut:
    return ExportOut(
        id=export.id,
        segment=export.key,
        filename=export.filename,
        state=export.state,
        done=export.done,
        of=export.of,
        userCount=export.members,
        asof=None if export.as_of_ms is None else rfc3339(export.as_of_ms),
        error=export.error,
        downloadUrl=await _url(request, export.filename) if export.state == "done" else None,
    )


async def _note(engine: EngineOf, author: str, export: Export) -> None:
    """Notes in the audit log who exported people's ids, and into which file."""
    details = {"export": export.id, "filename": export.filename}
    await to_thread.run_sync(
        audit.note, engine.history, engine.clock_ms(), author, "export", "segment", export.key, details
    )
