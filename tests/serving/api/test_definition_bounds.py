"""Bounds on the number and the size of definitions, by an API of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from serving.settings import Settings
from tests.pipelines.world import World
from tests.serving.local_api import answers

ADMIN = "admin-key-of-this-test"


def admin_request(method: str, path: str, **body: Any) -> httpx.Request:
    """An admin's request."""
    headers = {"Authorization": f"Bearer {ADMIN}"}
    return httpx.Request(method, f"http://api/v1/admin/{path}", headers=headers, content=json.dumps(body))


def api_answers(folder: Path, redis_url: str, *requests: httpx.Request) -> list[httpx.Response]:
    """The answers of an API that allows two definitions."""
    World(redis_url, folder).recover()
    lake_uri = str(folder / "lake")
    key = SecretStr(ADMIN)
    settings = Settings(home=folder, redis_url=redis_url, lake_uri=lake_uri, admin_key=key, definitions_max=2)
    return answers(settings, requests)


def test_one_definition_too_many_is_refused(tmp_path: Path, redis_url: str) -> None:
    """One definition too many is 409 with field, value and remedy, of any kind, new or brought back.

    Changes and deletes go on.
    """
    trait, segment, flag, changed, deleted, again = api_answers(
        tmp_path,
        redis_url,
        admin_request("POST", "traits", key="visits", expression="events.visit.count"),
        admin_request("POST", "segments", key="visitors", rule="visits > 0"),
        admin_request("POST", "flags", key="greeting", rule="true"),
        admin_request("PUT", "traits/visits", expression="events.visit.count_7d"),
        admin_request("DELETE", "segments/visitors"),
        admin_request("POST", "flags", key="greeting", rule="true"),
    )
    version = segment.json()["segment"]["version"]
    (rolled_back,) = api_answers(
        tmp_path, redis_url, admin_request("POST", "segments/visitors/rollback", version=version)
    )

    assert [trait.status_code, segment.status_code, changed.status_code, deleted.status_code] == [200] * 4
    assert again.status_code == 200, "there is room again"
    for refused, value in ((flag, "greeting"), (rolled_back, "visitors")):
        assert refused.status_code == 409
        assert "2" in refused.json()["message"]
        details = refused.json()["details"]
        assert (details["field"], details["value"]) == ("key", value)
        assert "TINYCDP_DEFINITIONS_MAX" in details["remedy"]


def test_an_expression_that_reads_too_much_is_refused(tmp_path: Path, redis_url: str) -> None:
    """The refusal is 400 and says that it is too large, where, and what would fit."""
    wide = " || ".join(f"p{number}" for number in range(300))
    (refused,) = api_answers(
        tmp_path, redis_url, admin_request("POST", "traits", key="wide", expression=f"events.x.where({wide}).count")
    )

    assert refused.status_code == 400
    details = refused.json()["details"]
    assert (details["field"], details["error"], details["remedy"]) == ("expression", "too_large", "fewer of them")
    assert "more than 250 events, properties and attributes" in refused.json()["message"]
