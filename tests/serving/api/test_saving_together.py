"""Clients who save at the same time, as Terraform does: one commit for all that waits, and each version once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx
import pytest
import redis
from anyio import create_task_group

from expressions.definitions import Definition
from lake.lake import Lake
from lake.schemas import AUDIT, DEFINITIONS
from serving.app import create_app, engine_of
from serving.definitions import saving
from serving.store import keys
from serving.store.scripts.replace_catalogue import REPLACE_CATALOGUE
from tests.pipelines.world import World
from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

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


@contextmanager
def counted_replacements(redis_url: str) -> Iterator[Counter[str]]:
    """Counts what Redis does until the end of the block: replacements of the catalogue that were "tried" and "done"."""
    counts: Counter[str] = Counter()
    watched = threading.Event()
    over = "all was saved"

    def watch() -> None:
        with redis.Redis.from_url(redis_url) as client, client.monitor() as monitor:
            watched.set()
            while (words := monitor.next_command()["command"]) != f"ECHO {over}":
                counts["tried"] += words.startswith(f"EVALSHA {REPLACE_CATALOGUE.sha} ")
                counts["done"] += words.startswith(f"SET {keys.catalogue_version()} ")

    watching = threading.Thread(target=watch)
    watching.start()
    assert watched.wait(60)
    try:
        yield counts
    finally:
        with redis.Redis.from_url(redis_url) as client:
            client.echo(over)
        watching.join()


def test_the_savers_of_a_process_take_turns(redis_url: str, tmp_path: Path) -> None:
    """However many threads of a process save at once, none of them makes another one begin again."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()
    together = threading.Barrier(2 * CLIENTS)

    def save(number: int) -> None:
        for at in range(SAVES):
            together.wait(60)
            definition = Definition("flag", f"turn_{number}_{at}", "true")
            saving.save(world.store, world.lake.holds_events, definition, 0)

    with counted_replacements(redis_url) as replacements, ThreadPoolExecutor(2 * CLIENTS) as threads:
        list(threads.map(save, range(2 * CLIENTS)))

    assert len(world.catalogue.definitions) == 2 * CLIENTS * SAVES
    assert replacements == {"tried": 2 * CLIENTS * SAVES, "done": 2 * CLIENTS * SAVES}


@pytest.mark.deep
@pytest.mark.xdist_group("stack")
def test_two_processes_that_save_together_hardly_repeat_themselves(stack: RunningStack) -> None:
    """A save is begun anew where another process was first, and that costs no more tries than twice the saves. None is
    refused; history and audit log get each once, in no more commits than saves.

    A clock would tell how busy this machine is. `make bench ARGS="--only saves"` tells the seconds.
    """
    stack.define("flag", "together", "true")
    lake = Lake(stack.stack.lake_uri)

    def is_written() -> bool:
        with redis.Redis.from_url(stack.stack.redis_url) as client:
            return not client.xlen(keys.unwritten())

    wait_until(is_written, "the history is written")
    commits = {table.name: lake.open(table).version() for table in (DEFINITIONS, AUDIT)}
    with api_beside(stack) as other, ThreadPoolExecutor(2 * CLIENTS) as clients:
        other.define("flag", "together_beside", "true")

        def saved(number: int) -> list[int]:
            api = (stack, other)[number % 2]
            return [
                api.call(
                    "POST", "/v1/admin/flags", json={"key": f"together_c{number}_{save}", "rule": "true"}
                ).status_code
                for save in range(SAVES)
            ]

        with counted_replacements(stack.stack.redis_url) as replacements:
            statuses = [status for statuses in clients.map(saved, range(2 * CLIENTS)) for status in statuses]
        wait_until(is_written, "the history is written")

    saves = 2 * CLIENTS * SAVES
    assert statuses == [200] * saves
    assert replacements["done"] == saves
    assert replacements["tried"] <= 2 * saves
    history = [row for row in lake.definitions() if row["key"].startswith("together_c")]
    assert len({row["version"] for row in history}) == len(history) == saves
    for table in (DEFINITIONS, AUDIT):
        assert lake.open(table).version() - commits[table.name] <= saves + 1
