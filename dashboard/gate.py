"""What a request passes before Streamlit sees it.

1. Its host is a name that the console may be reached by: else a page of others could make its own name ours.
2. The origin of a websocket, and of what changes something, is that host: a page of others signs nobody in. To allow
   other origins Streamlit would look up this machine's address outside.
3. A page, or a file, is for people who are signed in; others are sent to the sign-in, and come back afterwards.
4. At most 50 websockets are open of browsers that are not signed in, which are told so in their tab: each costs memory.
5. Pages load nothing from another host, and are shown in no frame of others.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dashboard.console import Console

#: Streamlit's pages run inline code and evaluate charts' expressions; nothing of it comes from elsewhere.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; connect-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
#: Under the base path: what is for anybody. The rest of `_stcore` is told apart by its session.
OPEN = ("/sign-in", "/sign-out", "/_stcore/", "/static/", "/component/", "/expression-editor/", "/favicon")
#: Websockets without a sign-in that are open at a time; one more is refused, and its tab tries again by itself.
STRANGERS_MAX = 50


class Gate:
    """An ASGI app before another one."""

    def __init__(self, app: ASGIApp, console: Console) -> None:
        self._app, self._console = app, console
        self._strangers = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._wrong_host(headers)
        if answer is None and (scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")):
            answer = _other_origin(headers)
        if answer is None and scope["type"] == "http":
            answer = self._not_signed_in(HTTPConnection(scope))
        if answer is not None:
            refuse = WebSocketClose(1008) if scope["type"] == "websocket" else answer
            await refuse(scope, receive, send)
        elif scope["type"] == "websocket" and not self._is_signed_in(HTTPConnection(scope)):
            await self._as_stranger(scope, receive, send)
        else:
            await self._app(scope, receive, _guarded(send))

    async def _as_stranger(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a websocket on whose browser is not signed in, unless there are many of them."""
        if self._strangers >= STRANGERS_MAX:
            await WebSocketClose(1013, "too many are open without a sign-in")(scope, receive, send)
            return
        self._strangers += 1
        try:
            await self._app(scope, receive, _guarded(send))
        finally:
            self._strangers -= 1

    def _is_signed_in(self, request: HTTPConnection) -> bool:
        return self._console.keyring.find(request.cookies.get(self._console.cookie)) is not None

    def _wrong_host(self, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if name is not None and (name in self._console.hosts or "*" in self._console.hosts):
            return None
        return PlainTextResponse(
            f"the console is not reached by the name {host[:100]!r}: add it to TINYCDP_CONSOLE_HOSTS\n", 421
        )

    def _not_signed_in(self, request: HTTPConnection) -> Response | None:
        base = self._console.base_path
        path = request.scope["path"]
        if not path.startswith(f"{base}/"):
            return RedirectResponse(f"{base}/", 307) if path == base else PlainTextResponse("not here\n", 404)
        if path[len(base) :].startswith(OPEN):
            return None
        if self._is_signed_in(request):
            return None
        if path.startswith(f"{base}/media/"):
            return PlainTextResponse("sign in first\n", 403)
        query = request.scope.get("query_string", b"").decode("latin-1")
        wanted = f"{path}?{query}" if query else path
        return RedirectResponse(f"{base}/sign-in?next={quote(wanted, safe='')}", 303)


def _other_origin(headers: Headers) -> Response | None:
    """A refusal for a page of another host. A program that is no browser names no origin."""
    origin = headers.get("origin")
    if origin is None or urlsplit(origin).netloc == headers.get("host"):
        return None
    return PlainTextResponse(f"the origin {origin[:100]!r} is not the host: open the console by its own address\n", 403)


def _guarded(send: Send) -> Send:
    """Answers with the headers that a browser keeps to; a page that has a stricter policy keeps that."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", POLICY)
            headers.setdefault("X-Content-Type-Options", "nosniff")
            headers.setdefault("Referrer-Policy", "same-origin")
        await send(message)

    return guarded
