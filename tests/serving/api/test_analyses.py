"""Analyses over HTTP, on a real stack: asked, followed, cancelled, and refused where they make no sense."""

from __future__ import annotations

from typing import Any

import pytest
import tinycdp

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.fixture(scope="module")
def admin(stack: RunningStack) -> Any:
    """An admin of a stack in which three people have looked around."""
    stack.define("segment", "anl_looked", "events.anl_look.count >= 1")
    for name in ("one", "two", "three"):
        stack.track(f"anl_{name}", "anl_look", messageId=f"anl_{name}")
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        wait_until(lambda: admin.search_users("anl_")["total"] == 3, "the events are drained")
        yield admin


def result_of(admin: tinycdp.Admin, analysis: tinycdp.admin_types.Analysis) -> Any:
    """The result, once the analysis is done."""

    def is_done() -> bool:
        found = admin.analysis(analysis["id"])
        assert found["state"] not in ("failed", "cancelled"), found
        return found["state"] == "done"

    wait_until(is_done, "the analysis is done")
    return admin.analysis(analysis["id"])["result"]


@pytest.mark.deep
def test_a_trend_of_a_saved_segment_and_of_a_text(admin: tinycdp.Admin) -> None:
    """Both are the same question; everybody came today."""
    saved = result_of(admin, admin.start_analysis("trend", "segment", "anl_looked"))
    written = result_of(admin, admin.start_analysis("trend", "segment", expression="events.anl_look.count >= 1"))

    overlap = result_of(admin, admin.start_analysis("overlap", "segment", "anl_looked"))

    assert (overlap["members"], "anl_looked" in [other["key"] for other in overlap["segments"]]) == (3, False)
    assert [point["members"] for point in saved["points"][-2:]] == [0, 3]
    assert written["points"] == saved["points"]
    assert saved["total"] >= 3


@pytest.mark.deep
def test_an_impact_of_a_segments_and_of_a_flags_edit(stack: RunningStack, admin: tinycdp.Admin) -> None:
    """Who leaves is shown, and which decisions of the flag change, by variant."""
    stack.define("flag", "anl_flag", "segment('anl_looked')", variants=[{"name": "on"}], default=False)
    edit = admin.start_analysis("impact", "segment", "anl_looked", expression="events.anl_look.count >= 2")
    ends = admin.start_analysis("impact", "flag", "anl_flag", flag={"ends_at": "2001-01-01T00:00:00Z"})

    segment, flag = result_of(admin, edit)["definitions"]
    (ended,) = result_of(admin, ends)["definitions"]
    (gone,) = result_of(admin, admin.start_analysis("impact", "flag", "anl_flag", deleted=True))["definitions"]

    assert (segment["key"], segment["before"], segment["after"]) == ("anl_looked", 3, 0)
    assert sorted(segment["leaves"]["sample"]) == ["user:anl_one", "user:anl_three", "user:anl_two"]
    off, on = {"allow": False, "variant": None}, {"allow": True, "variant": "on"}
    assert (flag["key"], flag["decisions"]) == ("anl_flag", [{"before": on, "after": off, "count": 3}])
    assert ended["decisions"] == flag["decisions"]
    assert gone["decisions"] == flag["decisions"]
    old = admin.definition("flag", "anl_flag")["version"]
    admin.change_flag("anl_flag", enabled=False)
    (back,) = result_of(admin, admin.start_analysis("impact", "flag", "anl_flag", version=old))["definitions"]
    assert back["enters"]["count"] == 3
    with pytest.raises(tinycdp.NotFound, match="has no version 0"):
        admin.start_analysis("impact", "flag", "anl_flag", version=0)
    with pytest.raises(tinycdp.Conflict, match="used by flag 'anl_flag'"):
        admin.start_analysis("impact", "segment", "anl_looked", deleted=True)


@pytest.mark.deep
def test_the_people_of_a_segment_and_of_a_flag(stack: RunningStack, admin: tinycdp.Admin) -> None:
    """Counted and listed; of the flag by variant."""
    rule = "events.anl_look.count >= 1"  # by name it would be in the impact of an edit of the segment
    stack.define("flag", "anl_people", rule, variants=[{"name": "on"}], users={"anl_two": False})

    members = result_of(admin, admin.start_analysis("people", "segment", "anl_looked"))
    allowed = result_of(admin, admin.start_analysis("people", "flag", "anl_people"))

    assert (members["count"], [one["id"] for one in members["sample"]]) == (
        3,
        ["user:anl_one", "user:anl_three", "user:anl_two"],
    )
    assert (allowed["count"], allowed["variants"]) == (2, [{"variant": "on", "count": 2}])
    assert [(one["id"], one["variant"]) for one in allowed["sample"]] == [
        ("user:anl_one", "on"),
        ("user:anl_three", "on"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"analysis": "people", "kind": "flag", "expression": "true"}, 400, "key"),
        ({"analysis": "people", "kind": "flag", "key": "anl_none"}, 404, "key"),
        ({"analysis": "people", "kind": "flag", "key": "anl_none", "expression": "true"}, 400, "expression"),
        ({"analysis": "horoscope", "kind": "segment", "key": "anl_looked"}, 400, "analysis"),
        ({"analysis": "trend", "kind": "person", "key": "anl_looked"}, 400, "kind"),
        ({"analysis": "trend", "kind": "segment"}, 400, "expression"),
        ({"analysis": "trend", "kind": "segment", "key": "anl_none"}, 404, "key"),
        ({"analysis": "trend", "kind": "segment", "expression": "events.x.cuont"}, 400, "rule"),
        ({"analysis": "impact", "kind": "segment", "expression": "true"}, 400, "key"),
        ({"analysis": "impact", "kind": "segment", "key": "anl_looked", "flag": {"rollout": 5}}, 400, "flag"),
        ({"analysis": "impact", "kind": "segment", "key": "anl_none", "deleted": True}, 404, "key"),
        ({"analysis": "trend", "kind": "segment", "key": "anl_looked", "deleted": True}, 400, "deleted"),
        (
            {"analysis": "impact", "kind": "segment", "key": "anl_looked", "expression": "true", "deleted": True},
            400,
            "expression",
        ),
        (
            {"analysis": "impact", "kind": "flag", "key": "f", "expression": "true", "flag": {"default": "x"}},
            400,
            "default",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    stack: RunningStack, admin: tinycdp.Admin, body: dict[str, Any], status: int, field: str
) -> None:
    """The refusal names the field."""
    answer = stack.call("POST", "/v1/admin/analyses", json=body)

    assert (answer.status_code, answer.json()["details"]["field"]) == (status, field)


def test_an_unknown_one_is_not_found(admin: tinycdp.Admin) -> None:
    """Neither read nor cancelled."""
    for call in (admin.analysis, admin.cancel_analysis):
        with pytest.raises(tinycdp.NotFound):
            call("unknown")
