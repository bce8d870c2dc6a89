"""Explanations, and all that is asked about large records, are made in a process beside the API: nobody else waits."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
import redis
from anyio import CapacityLimiter
from structlog.testing import capture_logs

from cli.embedded_redis import EmbeddedRedis
from serving.api.streams import streams_of
from serving.app import HOT, create_app, engine_of
from serving.engine import Engine
from serving.http.hot_paths import Shortcut
from serving.ids import shard_of
from serving.logs import frames_only
from serving.lookups import worker
from serving.lookups.live_people import explained
from serving.lookups.worker import in_worker
from serving.store import keys
from serving.store.records import TAIL_ENTRIES
from tests.pipelines.world import World, purchase
from tests.serving.lookups import ending

#: Calls of functions that an answer costs in the event loop at the most: to walk through that many events takes more.
CALLS_MAX = 4_000
EVENTS = 6 * TAIL_ENTRIES
PATH = "/v1/decide?userId=heavy&flag=rich"
ADMIN = {"Authorization": "Bearer a"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A system with somebody who has many recent events, a flag that reads them, and keys "r" and "a"."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        world = World(server.url, tmp_path_factory.mktemp("home"), shards=2, read_key="r", admin_key="a")
        world.recover()
        world.define("trait", {"spent": "events.purchase.amount.sum_30d", "items": "events.purchase.item.unique"})
        world.define("flag", {"rich": 'trait("spent") > 5 && trait("items") > 2 && events.purchase.amount.p95 >= 0'})
        for start in range(0, EVENTS, TAIL_ENTRIES):
            world.ingest(
                purchase("heavy", number, properties={"amount": number % 100, "item": f"i{number % 50}"})
                for number in range(start, start + TAIL_ENTRIES)
            )
        for user in ("large", "broken", "passing"):
            spend(world, user, TAIL_ENTRIES + 50)
        yield world


def spend(world: World, user: str, times: int) -> None:
    """Lets somebody buy so often."""
    world.ingest(purchase(user, number, properties={"amount": 1, "item": f"i{number % 7}"}) for number in range(times))


@asynccontextmanager
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """The API of that system in this process, with its read key."""
    async with api_and_engine(world) as (http, _):
        yield http


@asynccontextmanager
async def api_and_engine(world: World) -> AsyncIterator[tuple[httpx.AsyncClient, Engine]]:
    """The same, with the engine behind it."""
    app = create_app(world.settings)
    engine = app.state.engine = engine_of(world.settings, app.state.tally)
    app.state.streams = streams_of(engine)
    transport = httpx.ASGITransport(app=Shortcut(app, HOT), raise_app_exceptions=False)  # type: ignore[arg-type]
    try:
        async with httpx.AsyncClient(
            transport=transport, base_url="http://api", headers={"Authorization": "Bearer r"}, timeout=60
        ) as http:
            yield http, engine
    finally:
        await engine.store.close()
        engine.admin_store.close()


async def counted(http: httpx.AsyncClient, path: str, method: str = "GET", **more: Any) -> tuple[dict[str, Any], int]:
    """An answer, and the calls of functions that it costs in the event loop."""
    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        answer = await http.request(method, path, **more)
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


def test_an_explanation_of_large_records_keeps_no_other_from_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has one made of somebody with few events waits for none of those of somebody with very many."""
    spend(world, "small", 3)
    monkeypatch.setattr(worker, "LARGE_EXPLANATIONS", taken := CapacityLimiter(1))

    async def ask() -> None:
        async with api(world) as http:
            await counted(http, f"{PATH}&explain=true")  # that their records are large is known from now on
            taken.acquire_on_behalf_of_nowait("somebody else")
            waiting = asyncio.create_task(http.get(f"{PATH}&explain=true"))
            while not taken.statistics().tasks_waiting:
                await asyncio.sleep(0)
            small = await http.get("/v1/decide?userId=small&flag=rich&explain=true")
            assert small.json()["explanation"]["key"] == "rich"
            assert taken.statistics().tasks_waiting == 1
            taken.release_on_behalf_of("somebody else")
            assert (await waiting).json()["explanation"]["key"] == "rich"

    anyio.run(ask)


def test_an_explanation_for_nobody_is_one_of_the_default(world: World) -> None:
    """Without an id there is nobody, and a flag that there is not is an error, with no tree."""
    made = explained(str(world.settings.redis_url), 2, None, None, ["rich", "none"])

    assert {key: decision.reason for key, decision in made.decided.decisions.items()} == {
        "rich": "DEFAULT",
        "none": "ERROR",
    }
    assert list(made.explanations) == ["rich"]


# ── large records ────────────────────────────────────────────────────────────────────────────────────────────────

#: Whatever can be asked about one person.
ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "decide": ("GET", "/v1/decide?userId=large&flag=rich", {}),
    "decide many": ("POST", "/v1/decide", {"json": {"userId": "large", "stream": True}}),
    "OFREP": ("POST", "/ofrep/v1/evaluate/flags/rich", {"json": {"context": {"targetingKey": "large"}}}),
    "OFREP bulk": ("POST", "/ofrep/v1/evaluate/flags", {"json": {"context": {"targetingKey": "large"}}}),
    "traits": ("GET", "/v1/users/large/traits", {"headers": ADMIN}),
    "detail": ("GET", "/v1/admin/users/large", {"headers": ADMIN}),
    "identity": ("GET", "/v1/admin/users/large/identity", {"headers": ADMIN}),
    "decisions": ("GET", "/v1/admin/users/large/decisions", {"headers": ADMIN}),
    "events": ("GET", "/v1/admin/users/large/events?limit=1", {"headers": ADMIN}),
}


@pytest.mark.deep(kept=3)
@pytest.mark.timeout(180)
@pytest.mark.parametrize("what", ASKED)
def test_who_has_large_records_is_told_of_by_another_process(world: World, what: str) -> None:
    """Also where an event has just come: this process decodes nothing of theirs, and the loop does little."""
    method, path, more = ASKED[what]

    async def ask() -> None:
        async with api_and_engine(world) as (http, engine):
            await counted(http, path, method, **more)  # what is loaded and started once
            for _ in range(2):
                world.ingest([{"type": "track", "userId": "large", "event": "purchase", "properties": {"amount": 1}}])
                _, calls = await counted(http, path, method, **more)
                assert calls < 2 * CALLS_MAX  # admins' answers go through the framework, and some ask the lake, too
                assert engine.bases.large("user:large") is None

    anyio.run(ask)


def test_another_process_tells_the_same(world: World) -> None:
    """Values, decisions and what they rest on are those that are made here from the same records."""

    async def ask() -> None:
        async with api(world) as http:
            told = (await http.get("/v1/users/passing/traits", headers=ADMIN)).json()
            values = {**told["traits"], **told["segments"]}
            assert values == world.values("passing")
            assert told["asof"]["ids"] == world.answers("passing").asof["ids"]
            decided = (await http.get("/v1/decide?userId=passing&flag=rich")).json()
            assert (decided["reason"], decided["asof"]["ids"]) == ("TARGETING_MATCH", told["asof"]["ids"])

    anyio.run(ask)


def test_who_is_small_again_is_told_of_here(world: World) -> None:
    """A rebuild covers the recent events; after the next answer this process reads the person by itself."""

    async def ask() -> None:
        async with api_and_engine(world) as (http, engine):
            before = (await http.get("/v1/users/passing/traits", headers=ADMIN)).json()
            assert "user:passing" in engine.large_ids
            world.drain().step()
            world.rebuild(["user:passing"])
            after = [(await http.get("/v1/users/passing/traits", headers=ADMIN)).json() for _ in range(2)]
            assert "user:passing" not in engine.large_ids
            assert [answer["traits"] for answer in after] == [before["traits"]] * 2

    anyio.run(ask)


async def process_that_waits() -> int:
    """The process that answered last."""
    return await in_worker(ending.pid)


def test_a_question_whose_process_is_killed_is_answered_by_another(world: World) -> None:
    """While it is asked: whoever asked gets the answer, from a process that is started for it."""

    async def ask() -> None:
        async with api(world) as http:
            first = (await http.get("/v1/users/large/traits", headers=ADMIN)).json()
            os.kill(stopped := await process_that_waits(), signal.SIGSTOP)
            asking = asyncio.create_task(http.get("/v1/users/large/traits", headers=ADMIN))
            while not worker.LARGE.borrowed_tokens:
                await asyncio.sleep(0)
            os.kill(stopped, signal.SIGKILL)
            again = await asking
            assert (again.status_code, again.json()["traits"]) == (200, first["traits"])
            assert await process_that_waits() != stopped

    asyncio.run(ask())


@pytest.mark.deep
def test_a_process_that_hangs_costs_one_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traits are 503 with a time to try again, a decision is the flag's default with reason ERROR; then all is well."""

    async def ask() -> None:
        async with api(world) as http:
            for path, told in (("/v1/users/large/traits", None), ("/v1/decide?userId=large&flag=rich", "ERROR")):
                good = await http.get(path, headers=ADMIN)
                os.kill(await process_that_waits(), signal.SIGSTOP)
                with monkeypatch.context() as patch:
                    patch.setattr(worker, "PEOPLE_ANSWER_S", 0.2)
                    lost = await http.get(path, headers=ADMIN)
                if told is None:
                    assert lost.status_code == 503 and int(lost.headers["retry-after"]) > 0
                    assert "answered nothing" in lost.json()["message"]
                else:
                    assert (lost.status_code, lost.json()["reason"], lost.json()["allow"]) == (200, told, False)
                again = await http.get(path, headers=ADMIN)
                assert again.status_code == 200 and again.json().keys() == good.json().keys()
                assert again.json().get("reason") == good.json().get("reason") != "ERROR"

    asyncio.run(ask())


def test_too_many_questions_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no turn in time, or finds too many waiting, is told to try again: 503, or the flag's default."""
    monkeypatch.setattr(worker, "LARGE", taken := CapacityLimiter(1))

    async def ask() -> None:
        async with api(world) as http:
            taken.acquire_on_behalf_of_nowait("somebody else")
            for name, bound in (("LARGE_TURN_S", 0.05), ("WAITING_MAX", 0)):
                with monkeypatch.context() as patch:
                    patch.setattr(worker, name, bound)
                    traits = await http.get("/v1/users/large/traits", headers=ADMIN)
                    decided = await http.get("/v1/decide?userId=large&flag=rich")
                assert traits.status_code == 503 and int(traits.headers["retry-after"]) > 0
                assert (decided.status_code, decided.json()["reason"]) == (200, "ERROR")

    anyio.run(ask)


def test_a_bug_in_another_process_is_in_the_log_of_this_one(world: World) -> None:
    """500 with a request id, and one line with that id and the places in the code; nothing of what was stored."""
    name = keys.record(shard_of("user:broken", 2), "user:broken")
    with redis.Redis.from_url(str(world.settings.redis_url)) as client:
        client.hset(name, b"\xff" * keys.TAIL_FIELD_BYTES_MIN, b"zq-secret" * 4)

    async def ask() -> httpx.Response:
        async with api(world) as http:
            return await http.get("/v1/users/broken/traits", headers=ADMIN)

    with capture_logs() as captured:
        answer = anyio.run(ask)

    (line,) = [frames_only(None, "", line) for line in captured if line["event"] == "unforeseen"]
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert (line["request_id"], line["error_type"]) == (answer.headers["x-request-id"], "CodecError")
    assert any(frame.startswith("serving/people/person.py:") for frame in line["frames"])
    assert "broken" not in str(line) and "zq-secret" not in str(captured)


def parts_of(tree: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The nodes of a tree that have a field, in order."""
    own = [tree] if field in tree else []
    return own + [node for part in tree.get("parts", ()) for node in parts_of(part, field)]
