"""Signs in and out: a key, or a link that works once, for a cookie with a random id."""

from __future__ import annotations

from urllib.parse import parse_qs

from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from tinycdp import ApiError, TinyCDPError

from dashboard.console import Console
from dashboard.keyring import IDLE_S_MAX
from dashboard.sign_in_page import POLICY, key_page, leave_page, link_page

FORM_BYTES_MAX = 8 * 1024
NO_KEY = "This is no key. A key is in keys.json, or an admin makes one under Settings."
USED = "This link was used already, or is too old. Print another one with `tinycdp sign-in`, or type a key."


def sign_in_routes(console: Console) -> list[Route]:
    """`/sign-in` shows and takes the form, `/sign-in/links` makes a link, `/sign-out` ends a sign-in: at once by the
    console's own link, and after a question where a page of others may have led there.
    """
    base, keyring = console.base_path, console.keyring

    async def show(request: Request) -> Response:
        secret = request.query_params.get("link")
        action = f"{base}/sign-in"
        if secret:
            return _html(link_page(action, secret))
        return _html(key_page(action, _local(request.query_params.get("next"), base)))

    async def take(request: Request) -> Response:
        form = await _form(request)
        key, next_path = form.get("key", "").strip(), _local(form.get("next"), base)
        if form.get("link"):
            taken = keyring.take_link(form["link"])
            if taken is None:
                return _html(key_page(f"{base}/sign-in", next_path, USED), 403)
            key = taken
        if not (key and key.isascii() and key.isprintable()):
            return _html(key_page(f"{base}/sign-in", next_path, NO_KEY), 401)
        try:
            cookie = await run_sync(keyring.sign_in, key)
        except TinyCDPError as error:
            return _html(key_page(f"{base}/sign-in", next_path, _refusal(error)), _status(error))
        keyring.sign_out(request.cookies.get(console.cookie))
        answer = RedirectResponse(next_path, 303)
        answer.set_cookie(
            console.cookie,
            cookie,
            max_age=IDLE_S_MAX * 14,  # the console itself counts the hours of idleness; a browser only keeps
            path=base or "/",
            httponly=True,
            samesite="strict",
            secure="https" in (request.url.scheme, request.headers.get("x-forwarded-proto", "")),
        )
        return answer

    async def make_link(request: Request) -> Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        try:
            secret = await run_sync(keyring.link, key)
        except TinyCDPError as error:
            return JSONResponse({"success": False, "message": _refusal(error)}, _status(error))
        return JSONResponse({"path": f"{base}/sign-in?link={secret}"}, headers={"Cache-Control": "no-store"})

    async def leave(request: Request) -> Response:
        keyring.sign_out(request.cookies.get(console.cookie))
        answer = RedirectResponse(f"{base}/sign-in", 303)
        answer.delete_cookie(console.cookie, path=base or "/", httponly=True, samesite="strict")
        return answer

    async def leave_or_ask(request: Request) -> Response:
        # Browsers say it over HTTPS and on this machine; where they do not, the question is asked.
        if request.headers.get("sec-fetch-site") == "same-origin":
            return await leave(request)
        return _html(leave_page(f"{base}/sign-out"))

    return [
        Route(f"{base}/sign-in", show, methods=["GET"]),
        Route(f"{base}/sign-in", take, methods=["POST"]),
        Route(f"{base}/sign-in/links", make_link, methods=["POST"]),
        Route(f"{base}/sign-out", leave_or_ask, methods=["GET"]),
        Route(f"{base}/sign-out", leave, methods=["POST"]),
    ]


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, which is cut at 8 KiB."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"))
    return {name: values[0] for name, values in fields.items()}


def _local(path: str | None, base: str) -> str:
    """The path of a screen to go on to: never another host's, which a link could name."""
    home = f"{base}/"
    if not path or not path.startswith(home) or path.startswith(("//", f"{base}/sign-")) or "\\" in path:
        return home
    return path


def _html(page: str, status: int = 200) -> Response:
    return HTMLResponse(page, status, {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


def _refusal(error: TinyCDPError) -> str:
    return str(getattr(error, "message", None) or error)


def _status(error: TinyCDPError) -> int:
    return error.status if isinstance(error, ApiError) and error.status in (401, 403) else 503
