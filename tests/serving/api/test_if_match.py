"""Nobody overwrites what they have not seen: `ETag` and `If-Match` of definitions, on a real stack."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from expressions.definitions import Definition
from serving.definitions import saving
from tests.pipelines.world import World
from tests.running import RunningStack, api_beside

KINDS = [("trait", "expression", "1", "2"), ("segment", "rule", "true", "false"), ("flag", "rule", "true", "false")]


@pytest.mark.xdist_group("stack")
@pytest.mark.parametrize(("kind", "field", "first", "second"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_a_save_by_an_old_version_is_refused(
    stack: RunningStack, kind: str, field: str, first: str, second: str
) -> None:
    """Each answer with a definition has its version as its tag. A change, a delete and a rollback that name another one
    are 412, change nothing, and say what is in force, by whom and when."""
    path, key = f"/v1/admin/{kind}s", f"matched_{kind}"
    made = stack.call("POST", path, json={"key": key, field: first})
    tag = made.headers["etag"]
    assert tag == f'"{made.json()[kind]["version"]}"' == stack.call("GET", f"{path}/{key}").headers["etag"]
    changed = stack.call("PUT", f"{path}/{key}", json={field: second}, headers={"If-Match": tag})
    assert (changed.status_code, changed.headers["etag"] != tag) == (200, True)

    old = {"headers": {"If-Match": tag}}
    version = made.json()[kind]["version"]
    refused = [
        stack.call("PUT", f"{path}/{key}", json={field: first}, **old),
        stack.call("DELETE", f"{path}/{key}", **old),
        stack.call("POST", f"{path}/{key}/rollback", json={"version": version}, **old),
    ]

    now = stack.call("GET", f"{path}/{key}")
    assert now.headers["etag"] == changed.headers["etag"]
    for answer in refused:
        body = answer.json()
        assert (answer.status_code, body["code"]) == (412, "failed_precondition")
        details: dict[str, Any] = body["details"]
        assert details["definition"] == now.json()[kind]
        assert (details["version"], details["author"]) == (now.json()[kind]["version"], "admin")
        assert details["updated_at"] == now.json()[kind]["updated_at"]
    known = {"headers": {"If-Match": f'W/{now.headers["etag"]}, "0", {now.headers["etag"]}'}}
    back = stack.call("POST", f"{path}/{key}/rollback", json={"version": version}, **known)
    assert (back.status_code, back.json()[kind][field]) == (200, first)
    assert stack.call("DELETE", f"{path}/{key}", headers={"If-Match": "*"}).status_code == 200


@pytest.mark.xdist_group("stack")
def test_what_is_gone_is_not_the_version_that_was_read(stack: RunningStack) -> None:
    """A change and a delete of what is not there stay 404; a rollback that names a version of it is 412."""
    version = stack.define("trait", "matched_gone", "1")["version"]
    stack.call("DELETE", "/v1/admin/traits/matched_gone")
    known = {"headers": {"If-Match": f'"{version}"'}}

    answers = [
        stack.call("PUT", "/v1/admin/traits/matched_gone", json={"expression": "2"}, **known),
        stack.call("DELETE", "/v1/admin/traits/matched_gone", **known),
        stack.call("POST", "/v1/admin/traits/matched_gone/rollback", json={"version": version}, **known),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 412]
    assert answers[2].json()["details"]["deleted"] is True


@pytest.mark.deep
@pytest.mark.xdist_group("stack")
def test_of_all_who_save_by_one_version_one_does(stack: RunningStack) -> None:
    """Twelve admins read the same version and save by two processes at once: one is answered 200, all others 412."""
    tag = f'"{stack.define("trait", "matched_raced", "0")["version"]}"'
    with api_beside(stack) as other, ThreadPoolExecutor(12) as pool:

        def save(number: int) -> int:
            api = (stack, other)[number % 2]
            body = {"expression": str(number + 1)}
            answer = api.call("PUT", "/v1/admin/traits/matched_raced", json=body, headers={"If-Match": tag})
            return answer.status_code

        statuses = sorted(pool.map(save, range(12)))

    assert statuses == [200] + [412] * 11


def test_a_save_between_look_and_write_is_seen(redis_url: str, tmp_path: Path) -> None:
    """Somebody saves after the version was compared and before the catalogue is replaced: the save is refused, too."""
    world = World(redis_url, tmp_path)
    world.recover()
    world.define("trait", {"raced": "1"})
    read = world.catalogue.definitions["trait", "raced"].version
    passed: list[dict[str, Any]] = []

    def settings(before: dict[str, Any]) -> dict[str, Any]:
        passed.append(before)  # after the comparison
        if len(passed) == 1:
            world.define("trait", {"raced": "2"})
        return before

    with pytest.raises(saving.Outdated) as outdated:
        saving.save(
            world.store,
            world.lake.holds_events,
            Definition("trait", "raced", "3"),
            0,
            settings=settings,
            knows=lambda version: version == read,
        )

    assert len(passed) == 1
    assert outdated.value.current is not None and outdated.value.current.expression == "2"
    assert world.catalogue.definitions["trait", "raced"].expression == "2"
