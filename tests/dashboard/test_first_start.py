"""A stack without data: each screen says what to do, and the dashboard leads to the first event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard import first_steps
from dashboard.console import Console, set_console
from tests.dashboard.screens import Screens, texts
from tests.running import RunningStack, stack_on
from tests.sdk.typescript_package import TypeScriptPackage, package_in
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("first start"), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def empty_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack that nobody has used."""
    with stack_on(tmp_path_factory.mktemp("empty"), drain_interval_s="0.2") as running:
        yield running


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> TypeScriptPackage:
    """The TypeScript client, built before a screen is open: it would find the event by itself meanwhile."""
    package = package_in(tmp_path_factory.mktemp("typescript") / "sdk")
    package.build()
    return package


@pytest.mark.parametrize("snippet", [first_steps._curl, first_steps._python, first_steps._typescript])
def test_the_first_event_is_sent_where_clients_reach_the_api(snippet: Callable[[str], str]) -> None:
    """The console may have a way of its own to the API, by a name that nobody else knows."""
    set_console(Console("http://api:4000", public_url="https://cdp.example.com"))
    assert "https://cdp.example.com" in snippet("a-key") and "api:4000" not in snippet("a-key")

    set_console(Console("http://127.0.0.1:4000"))
    assert "http://127.0.0.1:4000" in snippet("a-key")


def test_whatever_comes_first_is_told_by_what_it_has() -> None:
    """An identify has no name, and an event of a device no user."""
    nothing = {"userId": None, "anonymousId": None}
    bought = {**nothing, "kind": "track", "name": "purchase", "anonymousId": "5f3a", "id": "anon:5f3a"}
    known = {**nothing, "kind": "identify", "name": None, "id": "email:a1"}

    assert first_steps.arrived(bought) == "`purchase` of `5f3a` arrived."
    assert first_steps.arrived(known) == "`identify` of `email:a1` arrived."


@pytest.mark.deep
def test_the_way_from_nothing_to_an_event(
    package: TypeScriptPackage, empty_stack: RunningStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every list says what to do; the dashboard makes a key, shows how to send, sees the event, and goes on."""
    screens = Screens(empty_stack, monkeypatch)
    try:
        for path, remedy in (
            ("traits", "New trait"),
            ("segments", "New segment"),
            ("flags", "New flag"),
            ("users", "the dashboard shows how"),
            ("events", "POST /v1/track"),
            ("exports", "No segments yet"),
        ):
            assert remedy in texts(screens.open(path)), path

        app = screens.open()
        assert "There is no data yet" in texts(app)
        assert "Waiting for the first event" in texts(app)
        app.button[0].click().run()
        key = app.code[0].value
        curl, python, typescript = (code.value for code in app.code[1:])
        assert all(key in snippet for snippet in (curl, python, typescript))
        assert (curl.split()[0], python.splitlines()[0]) == ("curl", "import tinycdp")
        script = package.app(tmp_path) / "app.mjs"
        script.write_text(f"{typescript}\nconsole.log((await cdp.destroy()).sent);\n")
        assert package.says(script) == 1

        assert "`purchase` of `ada` arrived." in texts(app.run())
        wait_until(lambda: "1" in [tile.value for tile in screens.open().metric], "the dashboard counts it", 60)
    finally:
        screens.console.keyring.close()
