"""An API process beside one of a newer release, which saved definitions that this one does not know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import redis
from structlog.testing import capture_logs

from serving.definitions.catalogue import Catalogue
from serving.store import keys
from serving.store.records import TAIL_ENTRIES
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers, get

#: A definition that this release does not understand.
NEWER = {"kind": "trait", "key": "newer", "expression": "events.purchase.amount.geometric_mean"}


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """A system with a trait and a flag."""
    world = World(redis_url, tmp_path, shards=2, write_key="write", read_key="read", admin_key="admin")
    world.recover()
    world.define("trait", {"orders": "events.purchase.count"})
    world.define("flag", {"offer": "orders >= 1"})
    return world


def by_a_newer_release(world: World, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Saves what another release may save."""
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        text = msgspec.json.decode(client.get(keys.catalogue()))
        text["version"] += 1
        change(text["definitions"])
        client.mset({keys.catalogue(): msgspec.json.encode(text), keys.catalogue_version(): text["version"]})


def calls(world: World, before: Catalogue, *asked: tuple[str, str, str, Any]) -> list[httpx.Response]:
    """What a process of this release answers, which saw that catalogue last: (key, method, path, body), and health."""
    requests = [
        httpx.Request(method, f"http://api{path}", headers={"Authorization": f"Bearer {key}"}, json=body)
        for key, method, path, body in asked
    ]
    return answers(world.settings, [*requests, get("/health")], catalogue=before)


@pytest.mark.parametrize(
    "newer",
    [
        NEWER,
        {"kind": "audience", "key": "newer", "expression": "true"},
    ],
    ids=["aggregate", "kind"],
)
def test_definitions_that_are_not_understood_are_told_and_nothing_is_guessed(world: World, newer: Any) -> None:
    """A flag answers its default with reason ERROR, other calls 503 with the remedy, and health says so. Events that
    the newest definitions do not concern are taken as before."""
    before = world.catalogue
    by_a_newer_release(world, lambda definitions: definitions.append(newer))

    decided, traits, tracked, health = calls(
        world,
        before,
        ("read", "GET", "/v1/decide?userId=ada&flag=offer", None),
        ("admin", "GET", "/v1/users/ada/traits", None),
        ("write", "POST", "/v1/track", purchase("ada", 1)),
    )

    assert (decided.status_code, decided.json()["reason"], decided.json()["allow"]) == (200, "ERROR", False)
    assert traits.status_code == 503 and "newer version" in traits.text and "update" in traits.text
    assert tracked.status_code == 200
    assert "newer version" in health.json()["checks"]["definitions"]["error"]


def test_a_process_that_nobody_asks_tells_what_it_does_not_understand_and_when_it_does_again(world: World) -> None:
    """What stands before several processes asks for their health alone. The log tells once what every call meets."""
    before = world.catalogue

    def asked() -> Iterator[httpx.Request]:
        by_a_newer_release(world, lambda definitions: definitions.append(NEWER))
        yield from [get("/health")] * 3
        yield get("/decide/health")
        by_a_newer_release(world, lambda definitions: definitions.remove(NEWER))
        yield get("/health")

    with capture_logs() as logged:
        *told, again = answers(world.settings, asked(), catalogue=before)

    assert ["newer version" in answer.json()["checks"]["definitions"].get("error", "") for answer in told] == [True] * 4
    assert again.json()["checks"]["definitions"]["status"] == "ok"
    assert [line["event"] for line in logged].count("definitions_not_understood") == 1


@pytest.mark.deep
@pytest.mark.timeout(60)
def test_of_somebody_with_many_events_nothing_is_guessed_either(world: World) -> None:
    """Their answers are made in another process, which is not asked with definitions that it could not read."""
    world.ingest(purchase("large", number) for number in range(TAIL_ENTRIES + 50))
    before, traits = world.catalogue, get("/v1/users/large/traits", Authorization="Bearer admin")

    def asked() -> Iterator[httpx.Request]:
        yield traits
        by_a_newer_release(world, lambda definitions: definitions.append(NEWER))
        yield traits

    known, newer = answers(world.settings, asked(), catalogue=before)

    assert (known.status_code, known.json()["traits"]) == (200, {"orders": TAIL_ENTRIES + 50})
    assert newer.status_code == 503 and "update" in newer.text


def test_an_option_of_a_flag_that_is_not_known_survives_a_save(world: World) -> None:
    """Who saves a flag by an older process loses no option that a newer one has given it."""

    def change(definitions: list[dict[str, Any]]) -> None:
        (flag,) = [definition for definition in definitions if definition["key"] == "offer"]
        flag["settings"] = {"sticky": {"days": 7}}

    before = world.catalogue
    by_a_newer_release(world, change)

    saved, health = calls(world, before, ("admin", "PUT", "/v1/admin/flags/offer", {"rule": "orders >= 2"}))

    assert saved.status_code == 200, saved.text
    assert world.catalogue.definitions["flag", "offer"].settings["sticky"] == {"days": 7}
    assert health.json()["checks"]["definitions"]["status"] == "ok"
