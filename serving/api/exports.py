"""Exports over HTTP: the members of a segment as CSV, how far one is, what is kept, and the files themselves."""

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
from serving.api.dependencies import ERROR_IN_JSON, MISSING, Admin, EngineOf, Responses, reached_at, require_admin
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
#: The names that exports have; whatever else is in the folder is nobody's business.
NAME = re.compile(r"segment_[A-Za-z0-9_]+_\d{4}-\d{2}-\d{2}\.csv")

#: `MISSING` where the answer is CSV and the refusal is JSON.
_MISSING_IN_JSON: Responses = {404: {"description": MISSING[404]["description"], **ERROR_IN_JSON}}
_NOT_GIVEN_OUT: Responses = {403: {"description": "The address was not given out, or it has expired.", **ERROR_IN_JSON}}
router = APIRouter(prefix="/v1/export", dependencies=[Depends(require_admin)], tags=["exports"])
files = APIRouter(prefix="/exports/files", responses=_MISSING_IN_JSON | _NOT_GIVEN_OUT, tags=["exports"])


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
    found = [file for file in await to_thread.run_sync(engine.history.exports) if NAME.fullmatch(file.name)]
    page = found[offset : offset + limit]
    rows = [
        {
            "name": file.name,
            "size": file.size,
            "etag": file.etag,
            "created_at": rfc3339(int(file.modified.timestamp() * 1000)),
            "downloadUrl": await _url(request, file.name),
        }
        for file in page
    ]
    more = offset + limit < len(found)
    return ExportList.model_validate({"exports": rows, "total": len(found), "hasMore": more})


@router.get("/segment/{key}.csv", response_class=Csv, responses=_MISSING_IN_JSON)
async def segment_csv(key: str, engine: EngineOf, runs: RunsOf, caller: Admin) -> Csv:
    """The members of a segment as they are now, as CSV. It begins when the export is done: a large one takes minutes,
    for which `POST /v1/export/segment/{key}` is made."""
    export = await runs.start(key)
    await _note(engine, caller.label, export)
    return await _sent(engine, (await runs.ended(export)).filename)


@router.get("/segment/{key}", responses=MISSING)
async def export_segment(key: str, request: Request, engine: EngineOf, runs: RunsOf, caller: Admin) -> ExportedOut:
    """Exports the members of a segment as they are now, and answers when that is done."""
    export = await runs.start(key)
    await _note(engine, caller.label, export)
    await runs.ended(export)
    url = await _url(request, export.filename)
    return ExportedOut(downloadUrl=url, filename=export.filename, userCount=export.members)


@router.post("/segment/{key}.csv", responses=MISSING)
@router.post("/segment/{key}", responses=MISSING)
async def start_export(key: str, request: Request, engine: EngineOf, runs: RunsOf, caller: Admin) -> ExportOut:
    """Starts an export and answers at once; `GET /v1/export/{id}` says how far it is. One that waits already is it.

    The suffix changes nothing here: the file is CSV either way.
    """
    export = await runs.start(key)
    await _note(engine, caller.label, export)
    return await _shown(request, export)


@router.get("/{export_id}", responses=MISSING)
async def read_export(export_id: str, request: Request, runs: RunsOf) -> ExportOut:
    """How far an export is, and, once it is done, where its file is. It can be asked for a day after."""
    return await _shown(request, await runs.find(export_id))


@files.get("/{name}", response_class=Csv)
async def download(
    name: str,
    request: Request,
    engine: EngineOf,
    expires: Annotated[int, Query(ge=0, le=EXPIRES_S_MAX)],
    signature: Annotated[str, Query(max_length=SIGNATURE_CHARACTERS_MAX)],
) -> Csv:
    """A file, by an address that was given out and is not an hour old. It needs no key: the signature is one."""
    signer: Signer = request.app.state.signer
    signer.require(name, expires, signature, time.time())
    return await _sent(engine, name)


async def _sent(engine: EngineOf, name: str) -> Csv:
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
    """Where a file can be had for an hour: of the object store, or of this API where the lake is a folder."""
    engine, signer = request.app.state.engine, request.app.state.signer
    stored: str | None = await to_thread.run_sync(engine.history.store_url, name, OPEN_S)
    if stored is not None:
        return stored
    expires = int(time.time()) + OPEN_S
    asked = urlencode({"expires": expires, "signature": signer.signature(name, expires)})
    return f"{reached_at(request)}/exports/files/{name}?{asked}"


async def _shown(request: Request, export: Export) -> ExportOut:
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
    """Says in the audit log who took people's ids out, and into which file."""
    details = {"export": export.id, "filename": export.filename}
    await to_thread.run_sync(
        audit.note, engine.history, engine.clock_ms(), author, "export", "segment", export.key, details
    )
