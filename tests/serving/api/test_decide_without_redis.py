"""A decision while what it rests on is away or broken: the default, reason ERROR, and no exception."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import pytest

from serving.access.keys import Caller
from serving.api.decisions import decisions
from serving.app import engine_of
from serving.definitions.catalogue import Catalogue
from serving.ids import Ids
from serving.people.decided import Decided
from serving.refusals import Unavailable
from serving.settings import Settings
from tests.serving.local_api import answers, get
from tests.serving.people.test_decide import BLUE_AND_RED, catalogue_of

APP = Caller("key", "read", "an app")

#: Nobody listens there.
NOWHERE = "redis://127.0.0.1:1/0"


def decided(home: Path, catalogue: Catalogue | None, keys: list[str] | None) -> Decided:
    """The answer of a process that once had this catalogue, and cannot reach Redis any more."""

    async def ask() -> Decided:
        engine = engine_of(Settings(home=home, redis_url=NOWHERE))
        engine.catalogue = catalogue
        try:
            return await decisions(engine, APP, Ids(user="ada"), keys)
        finally:
            await engine.store.close()
            engine.admin_store.close()

    return anyio.run(ask)


def test_the_defaults_of_the_flags_that_are_known(tmp_path: Path) -> None:
    """Each flag answers its own default, a variant too; a flag that was never known is a no."""
    catalogue = catalogue_of(
        ("off", "true", {}), ("on", "true", {"default": True}), ("coloured", "true", {**BLUE_AND_RED, "default": "red"})
    )

    answer = decided(tmp_path, catalogue, ["off", "on", "coloured", "unknown"])

    assert {
        key: (decision.allow, decision.variant, decision.value, decision.reason)
        for key, decision in answer.decisions.items()
    } == {
        "off": (False, None, False, "ERROR"),
        "on": (True, None, True, "ERROR"),
        "coloured": (False, "red", {"hex": "#f00"}, "ERROR"),
        "unknown": (False, None, False, "ERROR"),
    }
    for key in ("on", "unknown"):
        assert answer.decisions[key].reasons == ["evaluation_error: Redis is away"]
    assert answer.asof == {}


def test_all_flags_that_are_known(tmp_path: Path) -> None:
    """A process that is asked for all flags answers those of the catalogue that it has, by key."""
    catalogue = catalogue_of(("b", "true", {}), ("a", "true", {}))

    assert list(decided(tmp_path, catalogue, None).decisions) == ["a", "b"]


def test_a_process_that_never_knew_a_flag(tmp_path: Path) -> None:
    """Named flags are a no. A question for all flags is refused with 503, since none are known."""
    assert decided(tmp_path, None, ["f"]).decisions["f"].reason == "ERROR"
    with pytest.raises(Unavailable) as caught:
        decided(tmp_path, None, None)
    assert caught.value.retry_after_s


def test_nobody_says_that_there_is_no_such_flag(tmp_path: Path) -> None:
    """A flag that this process does not know may have been saved a moment ago: no client may take it for unknown."""
    catalogue = catalogue_of(("older", "true", {}))
    settings = Settings(home=tmp_path, redis_url=NOWHERE, read_key="r")
    read = {"Authorization": "Bearer r"}
    ofrep = httpx.Request(
        "POST", "http://api/ofrep/v1/evaluate/flags/newer", headers=read, json={"context": {"targetingKey": "ada"}}
    )

    alone, by_ofrep = answers(settings, [get("/v1/decide?userId=ada&flag=newer", **read), ofrep], catalogue=catalogue)

    assert (alone.status_code, alone.json()["reason"], alone.json()["allow"]) == (200, "ERROR", False)
    assert alone.headers["cache-control"] == "no-store"
    assert by_ofrep.status_code == 503 and by_ofrep.headers["retry-after"]
