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


def test_a_trend_of_a_saved_segment_and_of_a_text(admin: tinycdp.Admin) -> None:
    """Both are the same question; everybody came today."""
    saved = result_of(admin, admin.start_analysis("trend", "segment", "anl_looked"))
    written = result_of(admin, admin.start_analysis("trend", "segment", expression="events.anl_look.count >= 1"))

    overlap = result_of(admin, admin.start_analysis("overlap", "segment", "anl_looked"))

    assert (overlap["members"], "anl_looked" in [other["key"] for other in overlap["segments"]]) == (3, False)
    assert [point["members"] for point in saved["points"][-2:]] == [0, 3]
    assert written["points"] == saved["points"]
    assert saved["total"] >= 3


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"analysis": "horoscope", "kind": "segment", "key": "anl_looked"}, 400, "analysis"),
        ({"analysis": "trend", "kind": "person", "key": "anl_looked"}, 400, "kind"),
        ({"analysis": "trend", "kind": "segment"}, 400, "expression"),
        ({"analysis": "trend", "kind": "segment", "key": "anl_none"}, 404, "key"),
        ({"analysis": "trend", "kind": "segment", "expression": "events.x.cuont"}, 400, "rule"),
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
