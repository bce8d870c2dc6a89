"""Explanations are made in a process beside the API; and somebody with a long tail costs the API as much as others."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from anyio import CapacityLimiter

from cli.embedded_redis import EmbeddedRedis
from serving.app import HOT, create_app, engine_of
from serving.http.hot_paths import Shortcut
from serving.lookups import worker
from serving.lookups.explanations import explained
from serving.store.records import TAIL_ENTRIES
from tests.pipelines.world import World, purchase

#: Calls of functions that an answer costs in the event loop at the most: to walk through that many events takes more.
CALLS_MAX = 4_000
EVENTS = 6 * TAIL_ENTRIES
PATH = "/v1/decide?userId=heavy&flag=rich"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A system with somebody who has many recent events, a flag that reads them, and a read key "r"."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        world = World(server.url, tmp_path_factory.mktemp("home"), shards=2, read_key="r")
        world.recover()
        world.define("trait", {"spent": "events.purchase.amount.sum_30d", "items": "events.purchase.item.unique"})
        world.define("flag", {"rich": 'trait("spent") > 5 && trait("items") > 2 && events.purchase.amount.p95 >= 0'})
        for start in range(0, EVENTS, TAIL_ENTRIES):
            world.ingest(
                purchase("heavy", number, properties={"amount": number % 100, "item": f"i{number % 50}"})
                for number in range(start, start + TAIL_ENTRIES)
            )
        yield world


@asynccontextmanager
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The API of that system in this process, with its key."""
    app = create_app(world.settings)
    engine = app.state.engine = engine_of(world.settings, app.state.tally)
    transport = httpx.ASGITransport(app=Shortcut(app, HOT))  # type: ignore[arg-type]
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers={"Authorization": "Bearer r"}, timeout=60
        ) as http:
            yield http
    finally:
        await engine.store.close()
        engine.admin_store.close()


async def counted(http: httpx.AsyncClient, path: str) -> tuple[dict[str, Any], int]:
    """An answer, and the calls of functions that it costs in the event loop."""
    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        answer = await http.get(path)
    finally:
        sys.setprofile(None)
    assert answer.status_code == 200, answer.text
    return answer.json(), calls


@pytest.mark.timeout(180)
def test_an_explanation_costs_the_event_loop_little(world: World) -> None:
    """Reading, decoding and explaining 6,000 events happens elsewhere, also where one has just come. The decision is
    the one that is made without an explanation."""

    async def ask() -> None:
        async with api(world) as http:
            await counted(http, f"{PATH}&explain=true")  # what is loaded and started once
            for number in range(2):
                world.ingest([purchase("heavy", EVENTS + number, properties={"amount": 1, "item": "new"})])
                told, calls = await counted(http, f"{PATH}&explain=true")
                assert calls < CALLS_MAX
                plain, _ = await counted(http, PATH)
                assert {name: told[name] for name in ("allow", "reason", "value")} == {
                    name: plain[name] for name in ("allow", "reason", "value")
                }
                assert told["asof"]["ids"] == plain["asof"]["ids"]
                tree = told["explanation"]
                assert (tree["key"], tree["value"]) == ("rich", True)
                assert [part["definition"]["value"] for part in parts_of(tree, "definition")] == [
                    float(sum(number % 100 for number in range(EVENTS)) + number + 1),
                    51,
                ]

    anyio.run(ask)


def test_who_has_not_changed_is_decided_for_little(world: World) -> None:
    """The second decision about somebody with 6,000 recent events costs the loop what any other does."""

    async def ask() -> None:
        async with api(world) as http:
            first, _ = await counted(http, PATH)
            again, calls = await counted(http, PATH)
            assert first["value"] == again["value"]
            assert calls < CALLS_MAX

    anyio.run(ask)


@pytest.mark.deep
def test_a_decision_whose_explanation_has_no_turn_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are being explained: the decision is made all the same, with a sentence in the place of the tree."""
    monkeypatch.setattr(worker, "EXPLANATIONS", taken := CapacityLimiter(1))

    async def ask() -> None:
        async with api(world) as http:
            taken.acquire_on_behalf_of_nowait("somebody else")
            told, _ = await counted(http, f"{PATH}&explain=true")
            assert told["allow"] and "ask again" in told["explanation"]["not_explained_further"]

    anyio.run(ask)


def test_an_explanation_for_nobody_is_one_of_the_default(world: World) -> None:
    """Without an id there is nobody, and a flag that there is not is an error, with no tree."""
    made = explained(str(world.settings.redis_url), 2, None, None, ["rich", "none"])

    assert {key: decision.reason for key, decision in made.decided.decisions.items()} == {
        "rich": "DEFAULT",
        "none": "ERROR",
    }
    assert list(made.explanations) == list(made.decided.flags) == ["rich"]


def parts_of(tree: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The nodes of a tree that have a field, in order."""
    own = [tree] if field in tree else []
    return own + [node for part in tree.get("parts", ()) for node in parts_of(part, field)]
