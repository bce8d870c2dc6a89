"""Clients who save at the same time, as Terraform does: one commit for all that waits, and each version once."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
from anyio import create_task_group

from lake.schemas import AUDIT, DEFINITIONS
from serving.app import create_app, engine_of
from tests.pipelines.world import World

CLIENTS, SAVES = 4, 4


def test_clients_who_save_together_share_commits(redis_url: str, tmp_path: Path) -> None:
    """Clients who save at once make no more commits than saves. Each save is in force, and once in the history and in
    the audit log, and none had to be sent again."""
    world = World(redis_url, tmp_path, shards=2, admin_key="admin")
    world.recover()
    statuses: list[int] = []

    async def client(http: httpx.AsyncClient, number: int) -> None:
        for save in range(SAVES):
            body = {"key": f"t_{number}_{save}", "expression": f"events.e{number}.count_{save + 1}d"}
            answer = await http.post("/v1/admin/traits", json=body, headers={"Authorization": "Bearer admin"})
            statuses.append(answer.status_code)

    async def clients() -> None:
        app = create_app(world.settings)
        engine = app.state.engine = engine_of(world.settings, app.state.tally)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as http, create_task_group() as group:
            for number in range(CLIENTS):
                group.start_soon(client, http, number)
        await engine.store.close()
        engine.admin_store.close()

    before = {table.name: world.lake.open(table).version() for table in (DEFINITIONS, AUDIT)}
    anyio.run(clients)

    saves = CLIENTS * SAVES
    assert set(statuses) == {200}
    assert len(world.catalogue.definitions) == saves
    assert len({row["version"] for row in world.lake.definitions()}) == len(world.lake.definitions()) == saves
    assert world.lake.audit().collect().height == saves
    for table in (DEFINITIONS, AUDIT):
        assert world.lake.open(table).version() - before[table.name] <= saves
