"""The OpenAPI document lists every path that is answered, the refusals of each, and the bounds of requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from serving.api import (
    activity,
    analyses,
    audit,
    decide,
    definitions,
    events,
    exports,
    flag_people,
    health,
    keys,
    newest_events,
    ofrep,
    people,
    prometheus,
    rejected,
    runs,
    segment_members,
    streams,
    totals,
    unsaved_expressions,
    vocabulary,
    workspace,
)
from serving.app import create_app
from serving.ids import ID_CHARACTERS_MAX
from serving.ingest import accept
from serving.settings import Settings
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")

#: The bodies and queries that these operations want before they look whether something is there.
ASKED: dict[str, dict[str, Any]] = {
    "put /v1/admin/traits/{key}": {"json": {"expression": "1"}},
    "put /v1/admin/segments/{key}": {"json": {"rule": "true"}},
    "put /v1/admin/flags/{key}": {"json": {"rule": "true"}},
    "post /v1/admin/analyses": {"json": {"analysis": "trend", "kind": "segment", "key": "nothing_here"}},
    "post /v1/admin/{kinds}/{key}/rollback": {"json": {"version": 1}},
    "post /ofrep/v1/evaluate/flags/{key}": {"json": {"context": {"targetingKey": "ada"}}},
    "get /v1/decide": {"params": {"userId": "ada", "flag": "nothing_here"}},
}

#: Where something stands in the way: of these, what is sent.
IN_THE_WAY: dict[str, dict[str, Any]] = {
    "post /v1/admin/traits": {"json": {"key": "there_already", "expression": "1"}},
    "post /v1/admin/segments": {"json": {"key": "there_already", "rule": "trait('there_already') == 2"}},
    "post /v1/admin/flags": {"json": {"key": "there_already", "rule": "segment('there_already')"}},
    "delete /v1/admin/traits/{key}": {},
    "delete /v1/admin/segments/{key}": {},
    "delete /v1/admin/flags/{key}": {},
    "delete /v1/admin/keys/{key_id}": {},
    "post /v1/alias": {"json": {"previousId": "user:stays", "userId": "goes"}},
    "post /v1/a": {"json": {"previousId": "user:stays", "userId": "goes"}},
}


@pytest.fixture(scope="module")
def operations() -> dict[str, dict[str, Any]]:
    """Each operation of the document, by method and path."""
    document = create_app(Settings(redis_url="redis://127.0.0.1:1")).openapi()
    return {
        f"{method} {path}": operation
        for path, of_path in document["paths"].items()
        for method, operation in of_path.items()
    }


def differences(one: Any, other: Any, place: str = "") -> dict[str, tuple[Any, Any]]:
    """Where two documents differ, with what stands there in each."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        parts = [differences(one[name], other[name], f"{place}.{name}") for name in one]
        return {where: values for part in parts for where, values in part.items()}
    return {} if one == other else {place: (one, other)}


def documenting(operations: dict[str, dict[str, Any]], status: str) -> set[str]:
    """The operations that say they may answer with this."""
    return {name for name, operation in operations.items() if status in operation["responses"]}


def answered() -> Iterator[str]:
    """Every method and path that has a route of ours, but for twins with a slash and preflight requests."""
    admin = (
        activity,
        analyses,
        audit,
        definitions,
        exports,
        flag_people,
        keys,
        newest_events,
        people,
        rejected,
        runs,
        segment_members,
        totals,
        unsaved_expressions,
        vocabulary,
        workspace,
    )
    parts = (*admin, decide, events, health, ofrep, prometheus, streams)
    for router in [part.router for part in parts] + [exports.files, people.live]:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            if not route.path.endswith("/"):
                methods = (route.methods or set()) - {"OPTIONS"}
                yield from (f"{method.lower()} {route.path_format}" for method in methods)


def test_every_path_that_is_answered_is_documented(operations: dict[str, dict[str, Any]]) -> None:
    """Segment's short paths and settings are there too; a path that may end in a slash is listed once, without it."""
    assert set(answered()) == operations.keys()
    assert {"post /v1/t", "post /v1/b", "post /v1/import", "post /v1/m"} <= operations.keys()
    assert "get /v1/projects/{write_key}/settings" in operations


def test_every_operation_says_how_it_refuses(operations: dict[str, dict[str, Any]]) -> None:
    """Each documents 400, 500 and 503; with a key also 401, 403, 429, and Retry-After with 429 and 503; none 422.

    Of those without one a stream alone is 429: its ticket stands for a key.
    """
    keyed = {name for name, operation in operations.items() if "security" in operation}

    assert len(keyed) > 40
    for name, operation in operations.items():
        given = operation["responses"].keys()
        assert {"400", "500", "503"} <= given and "422" not in given, name
        may_be_429 = name in (keyed | {"get /v1/stream/{ticket}"})
        assert ({"401", "403"} <= given) if name in keyed else "401" not in given, name
        assert ("429" in given) == may_be_429, name
    assert all(
        "Retry-After" in operations[name]["responses"][status]["headers"] for name in keyed for status in ("429", "503")
    )


def test_a_bound_that_is_a_setting_is_documented_as_it_is_set() -> None:
    """Another length of batches changes the bound on each path that takes batches, and nothing else."""
    settings = Settings(redis_url="redis://127.0.0.1:1")
    shorter = settings.model_copy(update={"batch_events_max": 7})

    changed = differences(create_app(settings).openapi(), create_app(shorter).openapi())

    schema = "post.requestBody.content.application/json.schema.properties.batch.maxItems"
    bounds = (settings.batch_events_max, 7)
    assert changed == {f".paths./v1/{path}.{schema}": bounds for path in ("batch", "b", "import")}


def test_bounds_are_those_that_requests_are_held_to(operations: dict[str, dict[str, Any]]) -> None:
    """Lengths and counts in bodies that are read by hand are the constants of the code that reads them."""

    def body(path: str) -> dict[str, Any]:
        properties: dict[str, Any] = operations[f"post {path}"]["requestBody"]["content"]["application/json"]["schema"]
        return dict(properties["properties"])

    assert body("/v1/decide")["flags"]["maxItems"] == decide.FLAGS_MAX
    assert body("/v1/decide")["flags"]["items"]["maxLength"] == ID_CHARACTERS_MAX
    assert body("/v1/track")["event"]["maxLength"] == accept.NAME_CHARACTERS_MAX
    assert body("/v1/track")["messageId"]["anyOf"][0]["maxLength"] == accept.MESSAGE_ID_CHARACTERS_MAX
    assert body("/v1/track")["properties"]["maxProperties"] == accept.PROPERTIES_MAX
    assert body("/v1/identify")["traits"]["maxProperties"] == accept.ATTRIBUTES_MAX


def test_404_is_documented_where_it_is_answered_and_nowhere_else(
    stack: RunningStack, operations: dict[str, dict[str, Any]]
) -> None:
    """Each operation that documents 404 gives it for a thing that is not there; those that list or create do not."""
    statuses = {}
    for name in documenting(operations, "404"):
        method, path = name.split()
        named = path.replace("{kinds}", "traits").replace("{name}", "segment_nothing_2026-01-01.csv")
        for parameter in ("key", "key_id", "user", "export_id", "write_key", "ticket"):
            named = named.replace(f"{{{parameter}}}", "nothing_here")
        if not named.startswith("/exports/files/"):  # whose names are signed: tests/serving/api/test_exports.py
            statuses[name] = stack.call(method.upper(), named, **ASKED.get(name, {})).status_code

    assert len(statuses) > 20
    assert {name: status for name, status in statuses.items() if status != 404} == {}
    listing = {"get /v1/admin/traits", "post /v1/admin/traits", "post /v1/admin/validate", "get /v1/export/list"}
    assert not documenting(operations, "404") & (listing | {"post /v1/decide", "post /v1/track"})


def test_409_is_documented_where_it_is_answered_and_nowhere_else(
    stack: RunningStack, operations: dict[str, dict[str, Any]]
) -> None:
    """A 409 is answered to a taken key, a used definition, a key of the configuration, an alias that closes a ring; and
    where there are too many events (`tests/serving/api/test_segment_members.py`).
    """
    for name in ("post /v1/admin/traits", "post /v1/admin/segments", "post /v1/admin/flags"):
        stack.call("POST", name.split()[1], **IN_THE_WAY[name])
    needs = {"key": "needs_it", "prerequisites": [{"flag": "there_already"}]}
    assert stack.call("POST", "/v1/admin/flags", json=needs).status_code in (200, 409)
    stack.call("POST", "/v1/alias", json={"previousId": "user:goes", "userId": "stays"})

    statuses = {}
    for name, sent in IN_THE_WAY.items():
        method, path = name.split()
        path = path.replace("{key}", "there_already").replace("{key_id}", "configured:admin")
        statuses[name] = stack.call(method.upper(), path, **sent).status_code

    assert statuses == dict.fromkeys(IN_THE_WAY, 409)
    too_many_events = {"get /v1/admin/segments/{key}/members", "get /v1/admin/flags/{key}/people"}
    assert documenting(operations, "409") == IN_THE_WAY.keys() | too_many_events


def test_a_path_names_every_method_that_it_takes(stack: RunningStack) -> None:
    """405 lists all of them in Allow, though several routes share the path."""
    answer = stack.call("PATCH", "/v1/admin/traits/some")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT, DELETE")
