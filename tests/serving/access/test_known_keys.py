"""Which keys a process knows: none is called wrong that may be good, whatever Redis has forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from pydantic import SecretStr

from lake.lake import Lake
from serving.access import made_keys
from serving.access.keys import DECIDE, Caller, Keys, configured_keys, digest_of, keys_of, raw_keys
from serving.app import engine_of
from serving.engine import Engine
from serving.history import History
from serving.refusals import Unauthenticated, Unavailable
from serving.settings import Settings
from serving.store.operations.api_keys import KeyTexts
from serving.store.store import Store
from tests.serving.local_api import NOWHERE, answers

EVENT = {"userId": "ada", "event": "e"}

#: Every way to send a key, by the request that has one.
SENT: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/decide?userId=ada&flag=f&apiKey={key}", {}),
    ("GET", "/v1/decide?userId=ada&flag=f", {"headers": {"Authorization": "Bearer {key}"}}),
    ("POST", "/v1/decide?apiKey={key}", {"json": {"userId": "ada"}}),
    ("POST", "/ofrep/v1/evaluate/flags/f", {"headers": {"X-API-Key": "{key}"}, "json": {}}),
    ("POST", "/ofrep/v1/evaluate/flags", {"headers": {"Authorization": "Bearer {key}"}, "json": {}}),
    ("POST", "/v1/track", {"headers": {"Authorization": "Bearer {key}"}, "json": EVENT}),
    ("POST", "/v1/track?apiKey={key}", {"json": EVENT}),
    ("POST", "/v1/identify", {"json": {"userId": "ada", "writeKey": "{key}"}}),
    ("POST", "/v1/batch", {"json": {"batch": [{**EVENT, "type": "track"}], "writeKey": "{key}"}}),
    ("POST", "/v1/batch", {"json": {"batch": [{**EVENT, "type": "track", "writeKey": "{key}"}]}}),
    ("POST", "/v1/batch", {"content": '{"writeKey": "{key}", "batch": [{"userId": NaN}]}'}),
    ("POST", "/v1/batch", {"headers": {"Authorization": "Bearer {key}"}, "content": "{"}),
    ("GET", "/v1/projects/{key}/settings", {}),
    ("GET", "/v1/users/ada/traits?apiKey={key}", {}),
    ("GET", "/v1/admin/traits", {"headers": {"Authorization": "Bearer {key}"}}),
    ("GET", "/metrics?apiKey={key}", {}),
]


def requests_with(key: str) -> list[httpx.Request]:
    """Each request of `SENT` with this key."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: filled(part) for name, part in value.items()}
        return [filled(part) for part in value] if isinstance(value, list) else value.replace("{key}", key)

    return [httpx.Request(method, f"http://api{filled(path)}", **filled(more)) for method, path, more in SENT]


def test_an_unknown_key_is_not_wrong_while_redis_is_away(tmp_path: Path) -> None:
    """The answer is 503 with Retry-After on every path, however the key is sent."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE)

    refused = answers(settings, requests_with("read_made-by-somebody"))

    assert [answer.status_code for answer in refused] == [503] * len(SENT)
    assert all(answer.headers["retry-after"] for answer in refused)


def test_a_request_without_a_key_is_unauthenticated_even_then(tmp_path: Path) -> None:
    """Nothing that Redis could tell would change the answer."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE)
    requests = [httpx.Request("POST", f"http://api{path}", json=EVENT) for path in ("/v1/track", "/v1/decide")]

    assert [answer.status_code for answer in answers(settings, requests)] == [401, 401]


@pytest.mark.deep
def test_an_unknown_key_is_wrong_once_all_keys_are_known(tmp_path: Path, redis_url: str) -> None:
    """With a Redis that has all keys each request is refused for good: 401, and 404 for the settings of a write key.

    Before its shards are recovered the same Redis, empty, answers 503.
    """
    settings = Settings(home=tmp_path, redis_url=redis_url)

    assert {answer.status_code for answer in answers(settings, requests_with("read_unknown"))} == {503}

    with Store(redis_url, settings.shards) as store:
        store.mark_ready(0, store.server().run_id)
    refused = answers(settings, requests_with("read_unknown"))
    expected = [404 if "/projects/" in path else 401 for _, path, _ in SENT]
    assert [answer.status_code for answer in refused] == expected


def test_a_process_keeps_what_it_knows_when_redis_forgets(tmp_path: Path, redis_url: str) -> None:
    """A wiped Redis takes no key away; a key revoked meanwhile is refused as soon as Redis has its row again."""
    settings = Settings(home=tmp_path, redis_url=redis_url)
    history = History(settings.lake_root)

    async def known(engine: Engine, key: str) -> bool:
        try:
            return await engine.require(f"Bearer {key}", None, DECIDE) is not None
        except Unauthenticated:
            return False

    async def check() -> None:
        engine = engine_of(settings)
        store = engine.admin_store
        run_id = store.server().run_id
        store.mark_ready(0, run_id)
        kept, kept_text = made_keys.create(store, history, "read", "kept", "ada", 1)
        gone, gone_text = made_keys.create(store, history, "read", "gone", "ada", 1)
        await engine.follow_keys()
        made_keys.revoke(store, history, engine.keys, gone.id, 2)
        rows = list(Lake(settings.lake_root).api_keys())
        store.clear()

        await engine.follow_keys()
        assert (await known(engine, kept_text), await known(engine, gone_text)) == (True, True)
        with pytest.raises(Unavailable):
            await engine.require("Bearer read_unknown", None, DECIDE)
        for change in (
            lambda: made_keys.create(store, history, "read", "new", "ada", 3),
            lambda: made_keys.revoke(store, history, engine.keys, kept.id, 3),
            lambda: made_keys.made(store),
        ):
            with pytest.raises(Unavailable):
                change()

        made_keys.restore(store, rows)
        await engine.follow_keys()
        assert (await known(engine, kept_text), engine.keys.caller(gone_text)) == (True, None)
        store.mark_ready(0, run_id)
        assert (await known(engine, kept_text), await known(engine, gone_text)) == (True, False)
        await engine.store.close()
        store.close()

    anyio.run(check)


def test_a_key_of_another_process_is_known_when_it_is_first_sent(tmp_path: Path, redis_url: str) -> None:
    """A process that has looked before the key was made looks again; many who ask at once wait for one look."""
    settings = Settings(home=tmp_path, redis_url=redis_url)

    async def check() -> None:
        engine, other = engine_of(settings), engine_of(settings)
        engine.admin_store.mark_ready(0, engine.admin_store.server().run_id)
        await engine.follow_keys()
        _, text = made_keys.create(other.admin_store, other.history, "read", "new", "ada", 1)
        callers: list[Caller] = []

        async def ask() -> None:
            callers.append(await engine.require(f"Bearer {text}", None, DECIDE))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(ask)
        assert {caller.label for caller in callers} == {"new"}
        for part in (engine, other):
            await part.store.close()
            part.admin_store.close()

    anyio.run(check)


def test_a_setting_has_several_keys_while_one_takes_the_place_of_another(tmp_path: Path) -> None:
    """Each is let in and told from the others; commands send the first. What a setting lacks is made."""
    settings = Settings(home=tmp_path, read_key=SecretStr(" new,old ,,"), write_key=SecretStr(""))
    keys = keys_of(configured_keys(settings))

    assert [caller and caller.id for caller in map(keys.caller, ("new", "old", "", "new,old"))] == [
        "configured:read",
        "configured:read-2",
        None,
        None,
    ]
    assert {caller.kind for caller in map(keys.caller, ("new", "old")) if caller} == {"read"}
    assert raw_keys(settings)["read"] == "new"
    assert raw_keys(settings)["write"].startswith("write_")


def test_a_configured_key_is_never_taken_away() -> None:
    """Whatever Redis has, and whether or not that is all."""
    configured = Caller("configured:read", "read", "read")
    keys = Keys({digest_of("text"): configured})
    for are_all in (False, True):
        made_keys.learn(keys, KeyTexts({}, are_all), {})
        assert keys.caller("text") == configured
