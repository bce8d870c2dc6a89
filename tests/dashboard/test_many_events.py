"""Members and a flag's people over so many events that no answer is computed while one waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from dashboard.answers import CHANGES
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack, api_beside
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

PEOPLE = [f"user:me-{number}" for number in range(4)]


@pytest.fixture(scope="module")
def peopled(console: RunningStack) -> RunningStack:
    """A segment and a flag, and people in them."""
    console.define("segment", "me_segment", "events.me.count >= 1")
    variants = [{"name": "red", "weight": 1}, {"name": "blue", "weight": 1}]
    console.define("flag", "me_flag", 'segment("me_segment")', variants=variants, users={"me-0": "red", "me-1": "blue"})
    for id in PEOPLE:
        console.track(id.removeprefix("user:"), "me")
    asked = "/v1/admin/segments/me_segment/members"
    wait_until(lambda: console.call("GET", asked).json()["count"] == len(PEOPLE), "all are in the lake", 60)
    return console


@pytest.fixture
def many(peopled: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Screens]:
    """The screens of an API for which a single event is too many."""
    with api_beside(peopled, fresh_events_max="0") as api:
        screens = Screens(api, monkeypatch)
        yield screens
        screens.console.keyring.close()


def computed(app: AppTest) -> AppTest:
    """The screen once its job is done. Jobs of a host take turns: those that others asked for come first."""

    def is_done() -> bool:
        app.run()
        assert not app.error, texts(app)
        return bool(app.metric)

    wait_until(is_done, "the job is done", 120)
    return app


def listed(app: AppTest, column: str = "id") -> list[str]:
    """A column of the table."""
    (rows,) = app.dataframe
    return list(rows.value[column])


@pytest.mark.deep
def test_whom_a_flag_allows_is_computed_as_a_job(many: Screens) -> None:
    """By variant, and once more at a click."""
    app = computed(many.open("flags", key_="me_flag", tab="People"))

    assert app.metric[0].value == str(len(PEOPLE))
    assert listed(app) == PEOPLE
    assert listed(app, "variant")[:2] == ["red", "blue"]
    next(one for one in app.button if one.label == "Compute again").click()
    assert listed(computed(app)) == PEOPLE


@pytest.mark.deep
def test_people_are_computed_anew_after_a_change_of_ones_own(peopled: RunningStack, many: Screens) -> None:
    """Else a flag that was just edited would show those whom it allowed before."""
    peopled.define("flag", "me_edited", 'segment("me_segment")')
    app = computed(many.open("flags", key_="me_edited", tab="People"))
    assert app.metric[0].value == str(len(PEOPLE))
    assert peopled.call("PUT", "/v1/admin/flags/me_edited", json={"rule": "false"}).status_code == 200

    app.session_state[CHANGES] = 1  # as a save in this tab notes it
    app.run()

    assert computed(app).metric[0].value == "0"


@pytest.mark.deep
def test_members_are_a_job_until_a_rebuild_knows_the_rule(console: RunningStack, many: Screens) -> None:
    """Then they are as of the rebuild, and say so; as of now they are a job on request."""
    console.define("segment", "me_later", "events.me.count >= 1 || false")
    app = many.open("segments", key_="me_later", tab="Members")
    assert "did not know the rule" in texts(app)
    assert listed(computed(app)) == PEOPLE

    console.call("POST", "/v1/admin/rebuild", json={})
    asked = "/v1/admin/segments/me_later/members"
    wait_until(lambda: console.call("GET", asked).json()["members"][0]["since"] is not None, "a rebuild saw them", 60)
    app = many.open("segments", key_="me_later", tab="Members")
    assert "by the last full rebuild" in texts(app)
    assert listed(app) == PEOPLE
    app.toggle[0].set_value(True).run()

    assert listed(computed(app)) == PEOPLE
    assert "by the last full rebuild" not in texts(app)
