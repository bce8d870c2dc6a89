"""Keys that admins make and revoke, and the log of what they did: on a real stack."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis

from lake.lake import Lake
from pipelines.recover import recover
from serving.store.store import Store
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


def made(stack: RunningStack, kind: str, label: str) -> dict[str, Any]:
    """A new key."""
    answer = stack.call("POST", "/v1/admin/keys", json={"kind": kind, "label": label})
    assert answer.status_code == 200, answer.text
    key: dict[str, Any] = answer.json()
    return key


def decided_with(stack: RunningStack, key: str) -> httpx.Response:
    """The answer to a decision asked for with this key; 404 says that the key passed."""
    return stack.http.get(
        "/v1/decide", params={"userId": "a", "flag": "no_such_flag"}, headers={"Authorization": f"Bearer {key}"}
    )


def listed(stack: RunningStack, key_id: str) -> dict[str, Any]:
    """A key as the list shows it."""
    return next(key for key in stack.call("GET", "/v1/admin/keys").json()["keys"] if key["id"] == key_id)


def test_a_made_key_does_what_its_kind_allows_and_no_more(stack: RunningStack) -> None:
    """A read key decides, and neither sends events nor reads anything of an admin's."""
    key = made(stack, "read", "web app")["key"]
    headers = {"Authorization": f"Bearer {key}"}

    assert decided_with(stack, key).status_code == 404
    assert stack.http.post("/v1/track", json={"userId": "a", "event": "e"}, headers=headers).status_code == 403
    assert stack.http.get("/v1/admin/keys", headers=headers).status_code == 403


def test_a_profile_key_decides_and_reads_traits_and_nothing_else(stack: RunningStack) -> None:
    """It decides with GET and POST and over OFREP, and reads a user's traits; it sends nothing and reads nothing else.

    A read key, which ends up in browsers, reads no traits.
    """
    profile, read = made(stack, "profile", "shop")["key"], made(stack, "read", "web")["key"]

    def status(key: str, method: str, path: str, body: object = None) -> int:
        return stack.http.request(method, path, json=body, headers={"Authorization": f"Bearer {key}"}).status_code

    assert decided_with(stack, profile).status_code == 404
    assert status(profile, "POST", "/v1/decide", {"userId": "a"}) == 200
    assert status(profile, "POST", "/ofrep/v1/evaluate/flags", {"context": {"targetingKey": "a"}}) == 200
    assert (status(profile, "GET", "/v1/users/a/traits"), status(read, "GET", "/v1/users/a/traits")) == (200, 403)
    assert status(profile, "POST", "/v1/track", {"userId": "a", "event": "e"}) == 403
    for path in ("/v1/admin/users/a", "/v1/admin/users/search", "/v1/admin/keys", "/v1/admin/traits", "/metrics"):
        assert status(profile, "GET", path) == 403


def test_a_revoked_key_is_refused_at_once(stack: RunningStack) -> None:
    """The answer after the revocation is 401; the list keeps the key with the time, and shows no key's text.

    D-26: no key could be.
    """
    key = made(stack, "read", "lost laptop")
    assert decided_with(stack, key["key"]).status_code == 404

    assert stack.call("DELETE", f"/v1/admin/keys/{key['id']}").status_code == 200

    assert decided_with(stack, key["key"]).status_code == 401
    revoked = listed(stack, key["id"])
    assert revoked["revoked_at"] is not None
    assert key["key"] not in stack.call("GET", "/v1/admin/keys").text


def test_the_list_says_when_a_key_was_used(stack: RunningStack) -> None:
    """A new key has no time of use; after a use it has one."""
    key = made(stack, "read", "cron")
    assert listed(stack, key["id"])["last_used_at"] is None

    decided_with(stack, key["key"])

    wait_until(lambda: listed(stack, key["id"])["last_used_at"] is not None, "the use is noted")


@pytest.mark.parametrize(
    ("key_id", "status"), [("configured:admin", 409), ("0000000000000000", 404)], ids=["configured", "unknown"]
)
def test_what_cannot_be_revoked_is_said(stack: RunningStack, key_id: str, status: int) -> None:
    """A key of the configuration is 409, which says where it is changed; an unknown key is 404."""
    assert stack.call("DELETE", f"/v1/admin/keys/{key_id}").status_code == status


def test_an_unknown_kind_is_refused(stack: RunningStack) -> None:
    """The refusal is 400 and names the field and the kinds."""
    answer = stack.call("POST", "/v1/admin/keys", json={"kind": "root"})

    assert answer.status_code == 400
    assert answer.json()["message"] == "Kind must be one of: write, read, profile, viewer, admin"
    assert answer.json()["details"]["field"] == "kind"


@pytest.mark.deep
def test_keys_outlive_a_wiped_redis(stack: RunningStack, redis_url: str) -> None:
    """Recovery brings keys back from the lake, and a revoked one comes back revoked, also where a backup of Redis has
    it as one in use. Revoked keys are not in the hash that every process reads each second."""
    kept, gone = made(stack, "read", "kept"), made(stack, "read", "gone")
    with redis.Redis.from_url(redis_url) as client:
        client.hset("apikeys", gone["id"], b"{}")
    stack.call("DELETE", f"/v1/admin/keys/{gone['id']}")
    with Store(redis_url, stack.settings.shards) as store:
        recover(store, Lake(stack.settings.lake_root), stack.settings)

        with redis.Redis.from_url(redis_url) as client:
            read_each_second, revoked = (client.hgetall(name) for name in ("apikeys", "apikeys:revoked"))
    assert kept["id"].encode() in read_each_second.keys() - revoked.keys()
    assert gone["id"].encode() in revoked.keys() - read_each_second.keys()


def test_the_audit_log_says_who_did_what(stack: RunningStack) -> None:
    """A change of a definition is signed with the label of the key that made it; the newest entry comes first.

    D-30.
    """
    headers = {"Authorization": f"Bearer {made(stack, 'admin', 'ada')['key']}"}
    body = {"key": "audited", "expression": "events.audited.count"}
    assert stack.http.post("/v1/admin/traits", json=body, headers=headers).status_code == 200
    assert stack.http.delete("/v1/admin/traits/audited", headers=headers).status_code == 200

    entries = stack.call("GET", "/v1/admin/audit", params={"limit": 2}).json()["entries"]

    assert [(entry["author"], entry["action"], entry["kind"], entry["key"]) for entry in entries] == [
        ("ada", "delete", "trait", "audited"),
        ("ada", "create", "trait", "audited"),
    ]
