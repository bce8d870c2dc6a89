"""The API in this process, for what a shared stack must not be put through: Redis or the lake away, other settings."""

from __future__ import annotations

from collections.abc import Iterable

import anyio
import httpx

from serving.api.streams import streams_of
from serving.app import HOT, create_app, engine_of
from serving.definitions.catalogue import Catalogue
from serving.http.hot_paths import Shortcut
from serving.settings import Settings

#: Nobody listens there; the password is there to be looked for.
NOWHERE = "redis://:hidden-password@127.0.0.1:1/0"


def answers(
    settings: Settings,
    requests: Iterable[httpx.Request],
    client: str = "127.0.0.1",
    catalogue: Catalogue | None = None,
) -> list[httpx.Response]:
    """What an API of these settings, which saw this catalogue last, answers a client of this address, one by one."""

    async def ask() -> list[httpx.Response]:
        app = create_app(settings)
        engine = app.state.engine = engine_of(settings, app.state.tally)
        engine.catalogue = catalogue
        app.state.streams = streams_of(engine)
        transport = httpx.ASGITransport(app=Shortcut(app, HOT), client=(client, 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
            try:
                return [await http.send(request) for request in requests]
            finally:
                await engine.store.close()
                engine.admin_store.close()

    return anyio.run(ask)


def get(path: str, **headers: str) -> httpx.Request:
    """A request to the API above."""
    return httpx.Request(
        "GET", f"http://api{path}", headers={name.replace("_", "-"): of for name, of in headers.items()}
    )
