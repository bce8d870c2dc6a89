"""What a definition is used by and about, and what the audit log says of its changes: on a real stack."""

from __future__ import annotations

from typing import Any

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


def entries(stack: RunningStack, limit: int) -> list[dict[str, Any]]:
    """The newest entries of the audit log, the newest first."""
    found: list[dict[str, Any]] = stack.call("GET", "/v1/admin/audit", params={"limit": limit}).json()["entries"]
    return found


def test_an_entry_shows_what_changed_and_why(stack: RunningStack) -> None:
    """Create, change, delete and rollback each have the version before and after, the fields that differ, and the
    note; the history has the notes too. A note is no setting, and the next save has none."""
    path = "/v1/admin/flags/diffed"
    first = stack.define("flag", "diffed", "true", note="asked for by ada")
    body = {"rollout": 10, "variants": [{"name": "a"}], "note": "slowly"}
    stack.call("PUT", path, json=body)
    stack.call("DELETE", path, params={"note": "no longer needed"})
    stack.call("POST", f"{path}/rollback", json={"version": first["version"]})

    back, deleted, changed, created = entries(stack, 4)

    assert [entry["action"] for entry in (created, changed, deleted, back)] == ["create", "save", "delete", "rollback"]
    notes = [entry["note"] for entry in (created, changed, deleted, back)]
    assert notes == ["asked for by ada", "slowly", "no longer needed", ""]
    assert (created["before"], created["changed"]) == (None, [])
    assert created["after"]["rule"] == changed["before"]["rule"] == "true"
    assert (changed["changed"], changed["after"]["rollout"]) == (["rollout", "variants"], 10)
    assert changed["after"]["variants"] == [{"name": "a", "weight": 1.0, "value": "a"}]
    assert (deleted["before"]["rollout"], deleted["after"]) == (10, None)
    assert (back["before"], back["after"]["rollout"]) == (None, 100)
    history = stack.call("GET", f"{path}/history").json()["versions"]
    assert [version["note"] for version in reversed(history)] == notes
    assert "note" not in history[-1]["settings"]

    def sought(**query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = stack.call("GET", "/v1/admin/audit", params=query).json()["entries"]
        return found

    assert sought(kind="flag", key="DIFF", author="adm") == [back, deleted, changed, created]
    assert sought(kind="segment", key="diffed") == sought(key="diffed", author="nobody's key") == []
    period = {"from": changed["at"], "to": back["at"]}
    among = [one for one in (deleted, changed, created) if changed["at"] <= one["at"] < back["at"]]
    assert sought(key="diffed", **period) == among
    assert stack.call("GET", "/v1/admin/audit", params={"from": "soon"}).json()["details"]["field"] == "from"
    assert stack.call("PUT", path, json={"note": "x" * 501}).status_code == 400


def test_an_act_that_is_no_change_of_a_definition_has_no_versions(stack: RunningStack) -> None:
    """A key that is made has neither; a trait of the same name as the key's id would not be shown either."""
    key = stack.call("POST", "/v1/admin/keys", json={"kind": "read"}).json()["id"]

    entry = entries(stack, 1)[0]

    assert (entry["key"], entry["before"], entry["after"], entry["changed"], entry["note"]) == (key, None, None, [], "")


def test_a_delete_of_many_ids_is_noted_at_once(stack: RunningStack) -> None:
    """A person of many ids, some three links apart, is deleted whole, and each id is in the audit log by one commit."""
    owners = [f"audited-{number}" for number in range(4)]
    batch: list[dict[str, str]] = [{"type": "alias", "userId": "audited-many", "previousId": owner} for owner in owners]
    batch += [
        {"type": "track", "event": "seen", "userId": owner, "anonymousId": f"{owner}-{number}"}
        for owner in owners
        for number in range(15)
    ]
    assert stack.call("POST", "/v1/batch", "write", json={"batch": batch}).status_code == 200

    deleted = stack.call("DELETE", f"/v1/admin/users/{owners[0]}").json()["deleted"]

    assert len(deleted) > 4 * 15
    noted = entries(stack, len(deleted))
    assert {(entry["action"], entry["kind"]) for entry in noted} == {("delete", "user")}
    assert len({entry["key"] for entry in noted}) == len(deleted)
    assert len({entry["at"] for entry in noted}) == 1


def test_a_list_says_what_uses_a_definition(stack: RunningStack) -> None:
    """`used_by` has the ids of those that refer to it directly: in an expression, a bucket, a prerequisite. A save
    answers it, too."""
    stack.define("trait", "ub_orders", "events.ub_order.count")
    stack.define("segment", "ub_buyers", "ub_orders > 0")
    stack.define("flag", "ub_base", "segment('ub_buyers')")
    stack.define("flag", "ub_top", "true", prerequisites=[{"flag": "ub_base"}], bucket_by="trait:ub_orders")

    def listed(kind: str) -> dict[str, Any]:
        return {of["key"]: of["used_by"] for of in stack.call("GET", f"/v1/admin/{kind}s").json()[f"{kind}s"]}

    assert listed("trait")["ub_orders"] == ["flag:ub_top", "segment:ub_buyers"]
    assert listed("segment")["ub_buyers"] == ["flag:ub_base"]
    assert (listed("flag")["ub_base"], listed("flag")["ub_top"]) == (["flag:ub_top"], [])
    read = stack.call("GET", "/v1/admin/segments/ub_buyers").json()["segment"]
    saved = stack.call("PUT", "/v1/admin/segments/ub_buyers", json={"rule": "ub_orders > 1"}).json()["segment"]
    assert read["used_by"] == saved["used_by"] == ["flag:ub_base"]


@pytest.mark.deep
def test_a_list_says_how_many_users_a_definition_is_about(stack: RunningStack) -> None:
    """Members of a segment and users with a trait are those of the last full rebuild: not known until one has seen the
    last change, then right, and 0 for a segment of nobody. Flags have none."""
    saved = stack.define("segment", "sz_buyers", "events.sz_bought.count >= 1")
    stack.define("segment", "sz_nobody", "events.sz_never.count >= 1")
    stack.define("trait", "sz_plan", "profile.sz_plan")
    stack.define("flag", "sz_flag", "true")
    assert saved["size"] is None
    for user in ("sz-1", "sz-2"):
        stack.track(user, "sz_bought")
        stack.call("POST", "/v1/identify", "write", json={"userId": user, "traits": {"sz_plan": "gold"}})

    def sizes() -> list[int | None]:
        pairs = (("segment", "sz_buyers"), ("segment", "sz_nobody"), ("trait", "sz_plan"), ("flag", "sz_flag"))
        return [stack.call("GET", f"/v1/admin/{kind}s/{key}").json()[kind]["size"] for kind, key in pairs]

    def is_counted() -> bool:
        stack.tinycdp("rebuild")
        return sizes() == [2, 0, 2, None]

    wait_until(is_counted, "a rebuild has counted both users")
    assert {of["key"]: of["size"] for of in stack.call("GET", "/v1/admin/segments").json()["segments"]}[
        "sz_nobody"
    ] == 0
