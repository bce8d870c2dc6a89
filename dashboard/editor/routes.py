"""What the editor asks while somebody types: its file, checks and previews, each a route of the console's server.

The browser has no key of the API. The routes find the sign-in by the cookie, and ask the API as its person.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import tinycdp
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from dashboard.console import Console
from dashboard.editor import bundle
from dashboard.keyring import SignIn

#: The bytes of a question: an expression has at most 10,000 characters, each at most 12 bytes of escaped JSON.
QUESTION_BYTES_MAX = 128 * 1024
#: Questions of all sessions that wait for the API at once, each on a thread; one more is refused and asked again.
WAITING_MAX = 16
#: So many people are shown under an expression.
SAMPLE = 3

_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def editor_routes(console: Console) -> list[Route]:
    """The routes of the editor below the console's base path."""
    waiting = anyio.CapacityLimiter(WAITING_MAX)

    async def file(_: Request) -> Response:
        return FileResponse(bundle.FOLDER / bundle.file_name(), media_type="text/javascript", headers=_FOREVER)

    async def check(request: Request) -> Response:
        return await _answered(request, console, waiting, _check)

    async def preview(request: Request) -> Response:
        return await _answered(request, console, waiting, _preview)

    path = console.base_path + bundle.PATH
    return [
        Route(f"{path}/{bundle.file_name()}", file),
        Route(f"{path}/check", check, methods=["POST"]),
        Route(f"{path}/preview", preview, methods=["POST"]),
    ]


def _check(sign_in: SignIn, question: Mapping[str, Any]) -> Any:
    asked = {name: question.get(name) for name in ("parts", "position", "key")}
    return sign_in.admin.validate(question["kind"], question["expression"], **asked)


def _preview(sign_in: SignIn, question: Mapping[str, Any]) -> Any:
    # Given up too soon it would be asked anew, while the API still reads the lake for the one before.
    return sign_in.patient.preview(question["kind"], question["expression"], sample=SAMPLE)


async def _answered(
    request: Request,
    console: Console,
    waiting: anyio.CapacityLimiter,
    asked: Callable[[SignIn, Mapping[str, Any]], Any],
) -> Response:
    """The answer of the API to the question in a request's body, or its refusal with the status that it has."""
    sign_in = console.keyring.find(request.cookies.get(console.cookie))
    if sign_in is None:
        return _refusal(401, "Your sign-in has ended: sign in again.")
    try:
        question = _question(await _body(request))
    except ClientDisconnect:
        return Response(status_code=400)
    if question is None:
        return _refusal(400, "The question is no JSON with kind and expression, or too long.")
    if waiting.available_tokens < 1:
        return _refusal(503, "The API is slow at the moment; the editor asks again.")
    try:
        answer = await anyio.to_thread.run_sync(asked, sign_in, question, limiter=waiting)
    except tinycdp.Unreachable:
        return _refusal(503, "The API does not answer; the editor asks again.")
    except tinycdp.ApiError as error:
        return _refusal(error.status, error.message)
    return JSONResponse(answer)


async def _body(request: Request) -> bytes:
    """The body of a request, as far as it is not longer than allowed; one byte more tells that it is."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > QUESTION_BYTES_MAX:
            break
    return body


def _question(body: bytes) -> Mapping[str, Any] | None:
    if len(body) > QUESTION_BYTES_MAX:
        return None
    try:
        question = json.loads(body)
    except ValueError:
        return None
    known = isinstance(question, dict) and {"kind", "expression"} <= question.keys()
    return question if known else None


def _refusal(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)
