"""The shop on the demo's stack, in a real Chromium: what somebody does there, and what changes for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Response, expect, sync_playwright

from tests.chromium import chromium_path
from tests.demo import Demo
from tests.examples.checkout import Example
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(400)]

#: Opens the shop in a new tab; a name signs in.
Enter: TypeAlias = Callable[..., Page]

#: A machine under load answers within this.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def shop(example: Callable[[str], Example]) -> Example:
    """The example, installed."""
    return example("shop")


@pytest.fixture(scope="module")
def address(shop: Example, demo: Demo) -> Iterator[str]:
    """Where the shop is, once its own command has built it for the demo's stack."""
    with shop.runs("start.mjs", TINYCDP_HOME=str(demo.home), PORT="0") as (_, address):
        yield address


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    found = chromium_path("the shop")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser of somebody who was never here. The test fails where a page does."""
    wrong: list[str] = []
    with chromium.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        yield context
    assert wrong == []


@pytest.fixture
def enter(context: BrowserContext, address: str) -> Enter:
    """Opens the shop."""

    def enter(name: str | None = None) -> Page:
        page = context.new_page()
        page.goto(address)
        expect(answer(page, "member_price")).not_to_have_text("…")
        if name is not None:
            page.get_by_label("Your name").fill(name)
            page.get_by_role("button", name="Sign in").click()
            expect(page.get_by_text(f"Hello, {name}")).to_be_visible()
            expect(logged(page, "identify").get_by_text("sent")).to_be_visible()
        return page

    return enter


def product(page: Page, name: str) -> Locator:
    """A product's card."""
    return page.get_by_role("listitem", name=name, exact=True)


def buy(page: Page, name: str) -> None:
    """Presses the button of a product, whatever it says in this variant."""
    product(page, name).get_by_role("button", name="Buy").click()


def price(page: Page, name: str) -> Locator:
    """What a product costs whoever looks at it."""
    return product(page, name).locator(".price b")


def answer(page: Page, flag: str) -> Locator:
    """What a flag says, as it stands behind the counter."""
    return page.locator(".flags li").filter(has_text=flag).locator("b")


def logged(page: Page, what: str) -> Locator:
    """The lines of the log about an event or a flag."""
    return page.get_by_role("list", name="Log").get_by_role("listitem").filter(has=page.get_by_text(what, exact=True))


def exposures(running: RunningStack, user: str) -> int:
    """How often a user counts as having seen the experiment."""
    events = running.call("GET", f"/v1/admin/users/{user}/events").json()["events"]
    return sum(event["name"] == "experiment_exposure" for event in events)


@pytest.mark.deep
def test_a_page_that_loads_asks_once(context: BrowserContext, address: str) -> None:
    """One question about all flags for all that the page shows, one stream, and its events together."""
    page = context.new_page()
    calls: list[str] = []
    answers: list[int] = []  # so many calls were made as an answer about flags was there
    page.on("request", lambda request: calls.append(f"{request.method} {urlsplit(request.url).path[:10]}"))

    def note(answer: Response) -> None:
        if answer.request.method == "POST" and answer.url.endswith("/v1/decide"):
            answers.append(len(calls))

    page.on("response", note)
    page.goto(address)
    for event in ("page_view", "experiment_exposure"):
        expect(logged(page, event).get_by_text("sent")).to_be_visible()

    made = [call for call in calls if " /v1/" in call and not call.startswith("OPTIONS")]
    assert calls[: answers[0]].count("POST /v1/decide") == 1  # later ones where a slow page outlives its max-age
    assert set(made) == {"POST /v1/decide", "GET /v1/stream", "POST /v1/batch"}
    assert made.count("GET /v1/stream") == 1
    assert made.count("POST /v1/batch") <= 2  # a slow page is late with its exposure


def test_a_purchase_changes_prices_and_the_banner(enter: Enter, running: RunningStack) -> None:
    """The first purchase lowers every price, and the one that reaches 500 dollars flips the banner.

    What was paid is what the stack sums.
    """
    page = enter("shop-ada")
    expect(price(page, "Stoneware mug")).to_have_text("$19.00")
    expect(page.get_by_text("Shipping is $5")).to_be_visible()

    buy(page, "Stoneware mug")
    expect(price(page, "Stoneware mug")).to_have_text("$15.20")
    expect(page.get_by_text("Everything is 20 % off for you")).to_be_visible()
    expect(page.get_by_text("Shipping is $5")).to_be_visible()
    buy(page, "Espresso machine")
    expect(page.get_by_text("Free shipping")).to_be_visible()

    expect(logged(page, "purchase").get_by_text("sent")).to_have_count(2)
    assert running.traits("shop-ada")["traits"]["total_spent"] == 19 + 519.2


@pytest.mark.deep
def test_a_purchase_elsewhere_and_a_saved_flag_change_an_open_page(enter: Enter, running: RunningStack) -> None:
    """By the change stream: nobody touches the page."""
    page = enter("shop-stream")
    running.track("shop-stream", "purchase", properties={"amount": 600})
    expect(price(page, "Stoneware mug")).to_have_text("$15.20")
    expect(page.get_by_text("Free shipping")).to_be_visible()

    running.call("PUT", "/v1/admin/flags/free_shipping", json={"enabled": False})
    expect(page.get_by_text("Shipping is $5")).to_be_visible()
    running.call("PUT", "/v1/admin/flags/free_shipping", json={"enabled": True})
    expect(page.get_by_text("Free shipping")).to_be_visible()


@pytest.mark.deep
def test_what_a_guest_does_is_theirs_once_they_sign_in(enter: Enter, running: RunningStack) -> None:
    """The price of a guest who bought stays with the user, who has the variant of the guest's button, and is counted as
    having seen it once, however often the page is opened."""
    page = enter()
    buy(page, "Hand grinder")
    expect(price(page, "Hand grinder")).to_have_text("$79.20")
    says = product(page, "Hand grinder").get_by_role("button", name="Buy").inner_text()

    page.get_by_label("Your name").fill("shop-guest")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Hello, shop-guest")).to_be_visible()
    expect(answer(page, "member_price")).to_have_text("member")
    expect(price(page, "Hand grinder")).to_have_text("$79.20")
    expect(product(page, "Hand grinder").get_by_role("button", name="Buy")).to_have_text(says)
    wait_until(lambda: exposures(running, "shop-guest") == 2, "the guest and the user have seen it")
    for _ in range(2):
        page.reload()
        expect(logged(page, "experiment_exposure").get_by_text("sent")).to_have_count(1)

    assert says == {"plain": "Buy", "promise": "Buy now"}[answer(page, "checkout_button").inner_text()]
    assert exposures(running, "shop-guest") == 2
    page.get_by_role("button", name="Sign out").click()
    expect(price(page, "Hand grinder")).to_have_text("$99.00")


@pytest.mark.deep
def test_purchases_made_offline_count_once_after_the_tab_was_closed(enter: Enter, running: RunningStack) -> None:
    """Offline they wait in the browser; the next tab that is open sends them."""
    page = enter("shop-offline")
    page.get_by_role("switch").click()
    expect(page.get_by_text("Offline: events wait in this browser")).to_be_visible()
    for name in ("Stoneware mug", "Gooseneck kettle"):
        buy(page, name)
    expect(logged(page, "purchase").get_by_text("queued")).to_have_count(2)
    assert running.traits("shop-offline")["traits"]["orders_30d"] == 0
    page.close()

    again = enter()
    expect(again.get_by_text("Hello, shop-offline")).to_be_visible()
    wait_until(lambda: running.traits("shop-offline")["traits"]["orders_30d"] == 2, "both arrive")
    expect(price(again, "Stoneware mug")).to_have_text("$15.20")


@pytest.mark.deep
def test_the_switch_back_to_online_sends_what_waits(enter: Enter, running: RunningStack) -> None:
    """At once, and the answer follows."""
    page = enter("shop-back")
    page.get_by_role("switch").click()
    buy(page, "Stoneware mug")
    expect(logged(page, "purchase").get_by_text("queued")).to_be_visible()
    expect(price(page, "Stoneware mug")).to_have_text("$19.00")

    page.get_by_role("switch").click()
    expect(logged(page, "purchase").get_by_text("sent")).to_be_visible()
    expect(price(page, "Stoneware mug")).to_have_text("$15.20")

    assert running.traits("shop-back")["traits"]["orders_30d"] == 1


@pytest.mark.deep
def test_help_is_offered_to_who_looks_at_three_things_and_not_to_premium(enter: Enter) -> None:
    """By events of ten minutes; an attribute takes it away, and ships for nothing."""
    page = enter("shop-looks")
    for name in ("Stoneware mug", "Gooseneck kettle", "Hand grinder"):
        expect(page.get_by_label("Help")).to_have_count(0)
        product(page, name).get_by_role("button", name="Details").click()
    expect(page.get_by_label("Help")).to_be_visible()

    page.get_by_role("button", name="Go premium").click()

    expect(page.get_by_label("Help")).to_have_count(0)
    expect(page.get_by_text("Free shipping")).to_be_visible()


@pytest.mark.deep
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(context: BrowserContext, enter: Enter, scheme: str) -> None:
    """Nothing is wider than the screen, with a long name, an order and a log."""
    page = enter("shop-" + "x" * 40)
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 360, "height": 740})
    buy(page, "Stoneware mug")
    expect(page.get_by_role("heading", name="One order")).to_be_visible()

    assert page.evaluate("document.documentElement.scrollWidth") == 360


@pytest.mark.deep
def test_the_page_has_the_two_public_keys_and_no_other(shop: Example, address: str, running: RunningStack) -> None:
    """The write key and the read key. The admin's is nowhere in what is served."""
    served = b"".join(path.read_bytes() for path in (shop.folder / "dist").rglob("*") if path.is_file())

    assert {kind for kind, key in running.keys.items() if key.encode() in served} == {"write", "read"}


@pytest.mark.deep
def test_its_types_hold(shop: Example) -> None:
    """Against the types that the package is built with."""
    done = shop.run("node_modules/typescript/bin/tsc")

    assert (done.returncode, done.stdout) == (0, "")


def test_without_a_stack_it_says_what_to_do(shop: Example, tmp_path: Path) -> None:
    """Before anything is built: where no stack ever ran, and where none runs any more."""
    (tmp_path / "ended").mkdir()
    for name, content in {
        "stack.json": {"api_url": "http://127.0.0.1:9"},
        "keys.json": {"write": "w", "read": "r"},
    }.items():
        (tmp_path / "ended" / name).write_text(json.dumps(content))

    never = shop.run("start.mjs", TINYCDP_HOME=str(tmp_path))
    ended = shop.run("start.mjs", TINYCDP_HOME="ended", INIT_CWD=str(tmp_path))

    assert (never.returncode, ended.returncode) == (1, 1)
    assert f"no stack runs on {tmp_path}: run `make demo` first" in never.stderr
    assert "nobody answers at http://127.0.0.1:9: run `make demo` first" in ended.stderr
