"""Every screen renders, says what to do where there is nothing, and shows refusals as the API words them."""

from __future__ import annotations

import os
import signal

import pytest

from dashboard import keyring
from dashboard.answers import CHANGES
from dashboard.screens import GROUPS, exports, path_of
from tests.dashboard.screens import Screens, texts
from tests.faults.parts import pid_of
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

SCREENS = {path_of(screen): screen for group in GROUPS.values() for screen in group}


def test_without_a_sign_in_nothing_is_shown(screens: Screens) -> None:
    """Only the way to the sign-in."""
    assert texts(screens.as_person(None).run()) == "Your sign-in has ended."


@pytest.mark.parametrize("path", SCREENS)
def test_every_screen_renders(screens: Screens, path: str) -> None:
    """With its title, and without an error."""
    app = screens.open(path)

    assert [title.value for title in app.title] == [SCREENS[path].TITLE]
    assert [error.value for error in app.error] == []


#: What stands on the parts of a page that are not its first: the path, what its address names, the part.
PARTS = [
    ("traits", {"key_": "parts_trait"}, "Values", "People with a value"),
    ("segments", {"key_": "parts_segment"}, "Members", "from the lake"),
    ("segments", {"key_": "parts_segment"}, "Trend", "and the definitions of now"),
    ("segments", {"key_": "parts_segment"}, "Overlap", "As of"),
    ("segments", {"key_": "parts_segment"}, "History", "in force"),
    ("flags", {"key_": "parts_flag"}, "Test", "Whose decision?"),
    ("flags", {"key_": "parts_flag"}, "Activity", "No app has asked"),
    ("flags", {"key_": "parts_flag"}, "People", "Schedule, prerequisites"),
    ("users", {"id": "user:parts-ada"}, "Events", "First seen"),
    ("users", {"id": "user:parts-ada"}, "Decisions", "Click on a flag to see why"),
    ("users", {"id": "user:parts-ada"}, "Ids", "First seen"),
    ("users", {"id": "user:parts-ada"}, "Download, delete", "All that is known of this person"),
    ("settings", {}, "Health", "How much there is"),
    ("settings", {}, "Versions", "keys of apps"),
]


@pytest.fixture(scope="module")
def parted(console: RunningStack) -> RunningStack:
    """A stack with something on each of these."""
    console.define("trait", "parts_trait", "events.parts.count")
    console.define("segment", "parts_segment", "parts_trait >= 1")
    console.define("segment", "parts_other", "parts_trait >= 2")
    console.define("flag", "parts_flag", 'segment("parts_segment")')
    console.track("parts-ada", "parts")
    asked = "/v1/admin/segments/parts_segment/members"
    wait_until(lambda: console.call("GET", asked).json()["count"] == 1, "the lake has the event", 60)
    return console


@pytest.mark.deep(kept=4)
@pytest.mark.parametrize(("path", "named", "part", "says"), PARTS, ids=[f"{path} {part}" for path, _, part, _ in PARTS])
def test_every_part_of_a_page_renders(
    parted: RunningStack, screens: Screens, path: str, named: dict[str, str], part: str, says: str
) -> None:
    """Without an error, and with its answer, also where that is computed beside the API."""
    app = screens.open(path, tab=part, **named)

    def shown() -> str:
        app.run()
        return f"{texts(app)} {[metric.label for metric in app.metric]}".lower()

    wait_until(lambda: says.lower() in shown(), "it is answered", 60)
    assert [error.value for error in app.error] == []
    assert not app.exception


@pytest.mark.deep(kept=3)
@pytest.mark.parametrize("path", SCREENS)
def test_every_screen_shows_what_the_api_refuses(console: RunningStack, screens: Screens, path: str) -> None:
    """A key that was revoked after its person signed in gets the API's words, on each screen."""
    made = console.call("POST", "/v1/admin/keys", json={"kind": "admin", "label": "to be revoked"}).json()
    app = screens.open(path, key=made["key"])
    console.call("DELETE", f"/v1/admin/keys/{made['id']}")
    app.session_state[CHANGES] = 1  # what was kept is asked for again

    app.run()

    assert "Valid API key required" in texts(app)
    assert any("Sign in again" in element.proto.body for element in app.get("html"))


@pytest.mark.deep
def test_an_api_that_hangs_is_said_within_seconds(console: RunningStack, screens: Screens) -> None:
    """Eight seconds for the screen, and as many for who is signed in: then it is told as an API that is away."""
    app = screens.open("traits")
    app.session_state[CHANGES] = 1  # what was kept is asked for again
    pid = pid_of(console, "api")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        app.run(timeout=24)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert "The API does not answer" in texts(app)
    assert "tinycdp doctor" in texts(app)


@pytest.mark.deep
def test_a_change_without_an_answer_is_not_told_as_failed(
    console: RunningStack, screens: Screens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was sent, so it may have been done: the screen says so, and is as it is now at the next look."""
    console.define("segment", "exported_unheard", "true")
    monkeypatch.setattr(keyring, "CHANGE_S_MAX", 1.0)
    app = screens.open("exports")
    app.selectbox(key="segment to export").select("exported_unheard")
    (button,) = [button for button in app.button if button.label == "Export"]
    pid = pid_of(console, "api")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        button.click().run(timeout=24)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert "It is not known whether this was done" in texts(app)
    assert "Look before you do it again" in texts(app)
    assert "The API does not answer: POST" not in texts(app)
    assert app.session_state[CHANGES] == 1, "the next look is at how it is now"
    assert not app.run(timeout=24).error


@pytest.mark.parametrize("path", ["traits", "segments", "flags"])
def test_a_viewer_gets_no_form_of_a_new_definition(console: RunningStack, screens: Screens, path: str) -> None:
    """A link that an admin sent opens it, and says whose key it takes; there is no button that would be refused."""
    made = console.call("POST", "/v1/admin/keys", json={"kind": "viewer", "label": "looks"}).json()

    app = screens.open(path, key=made["key"], new="1")

    assert "takes an admin's key" in texts(app)
    assert [button.label for button in app.button] == [SCREENS[path].TITLE]


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("path", ["traits", "segments", "flags"])
def test_a_definition_that_never_was_is_refused_once(screens: Screens, path: str) -> None:
    """One sentence, and the way back."""
    for key in ("never_was", "never/was", "../../keys", "\x00", "x" * 200, "x" * 10_000):
        app = screens.open(path, key_=key)

        assert len(app.error) == 1, key
        assert app.error[0].value.endswith("not found") or "4096 bytes" in app.error[0].value
        assert [button.label for button in app.button] == [SCREENS[path].TITLE]


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("id", ["never-was", "never/was", "\x00", "x" * 300, "x" * 10_000])
def test_whatever_an_address_says_of_a_person_there_is_a_way_back(screens: Screens, id: str) -> None:
    """One sentence about what is wrong, below a name that is cut if it is long."""
    app = screens.open("users", id=id)

    assert len(app.error) == 1
    assert [button.label for button in app.button] == [SCREENS["users"].TITLE]
    assert max(len(element.proto.body) for element in app.get("html")) < 10_000


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize(
    ("path", "name"), [("traits", "key_"), ("segments", "key_"), ("flags", "key_"), ("users", "id")]
)
def test_an_address_that_names_nothing_opens_the_list(screens: Screens, path: str, name: str) -> None:
    """As one that names no thing at all."""
    app = screens.open(path, **{name: ""})

    assert [title.value for title in app.title] == [SCREENS[path].TITLE]
    assert [error.value for error in app.error] == []


def test_a_page_of_members_that_never_was_has_a_way_to_the_first(console: RunningStack, screens: Screens) -> None:
    """An address may say anything of where a page begins."""
    console.define("segment", "paged_by_nobody", "true")

    app = screens.open("segments", key_="paged_by_nobody", tab="Members", after="garbage", page="9")

    assert "cursor" in texts(app)
    (first,) = [button for button in app.button if button.label == "First"]
    assert not first.click().run().error


def test_a_reason_that_nothing_was_refused_for_says_so(console: RunningStack, screens: Screens) -> None:
    """As in a link of last week."""
    assert console.call("POST", "/v1/track", "write", json={"userId": "a", "event": ""}).status_code == 400
    wait_until(lambda: console.call("GET", "/v1/admin/rejected").json()["total"] > 0, "the lake has it", 60)

    assert "None was refused for this reason" in texts(screens.open("rejected", reason="nobody's"))


@pytest.mark.deep
def test_a_page_that_is_no_number_is_the_first(screens: Screens) -> None:
    """Whatever an address says: a superscript two looks like a digit, and is none."""
    assert texts(screens.open("users", page="²")) == texts(screens.open("users", page="1"))


def test_an_export_that_is_not_known_is_said_once(screens: Screens) -> None:
    """With what is kept below it; nothing is asked each second."""
    app = screens.open("exports", id="never-was")

    assert "There is no such export" in texts(app)
    assert app.error == [] and "Files" in texts(app)
    assert app.session_state[exports.ENDED] == "never-was"


@pytest.mark.deep
def test_a_flag_is_tried_for_whoever_is_named(console: RunningStack, screens: Screens) -> None:
    """By the id that an app sends, by the one that lists show, and for a device: else the answer is about nobody."""
    console.define("flag", "tried", "events.tried.count >= 1")
    console.track("tried-ada", "tried")
    assert console.call("POST", "/v1/track", "write", json={"anonymousId": "tried-5f", "event": "tried"}).is_success
    asked = [{"userId": "tried-ada", "flag": "tried"}, {"anonymousId": "tried-5f", "flag": "tried"}]
    wait_until(
        lambda: all(console.call("GET", "/v1/decide", params=one).json()["allow"] for one in asked),
        "the flag is ready",
    )

    for user, answer in (
        ("tried-ada", "allow"),
        ("user:tried-ada", "allow"),
        ("anon:tried-5f", "allow"),
        ("anon:tried-nobody", "refuse"),
    ):
        assert f" {answer}]" in texts(screens.open("flags", key_="tried", tab="Test", user=user)), user
