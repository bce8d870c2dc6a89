"""The floor of the HTTP paths: a bare ASGI app that sends one Redis command through redis-py."""

from __future__ import annotations

import os
from typing import Any

import redis.asyncio as redis

client = redis.Redis.from_url(os.environ["TINYCDP_REDIS_URL"])
HEADERS = [(b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """GET answers the value of a key; POST adds the body to a stream and answers when that is synced."""
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        value = await client.get(scope["query_string"].decode()) or b"{}"
    else:
        body = (await receive())["body"]
        value = await client.xadd("floor", {"e": body}, maxlen=100_000)
    headers = [*HEADERS, (b"content-length", str(len(value)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": value})
