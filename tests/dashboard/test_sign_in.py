"""Who gets in, and where the key is not."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def url(console: RunningStack, path: str = "/") -> str:
    """An address of the console."""
    return f"{console.stack.console_url}{path}"


def posted(console: RunningStack, **form: str) -> httpx.Response:
    """The answer to the form of the sign-in."""
    return httpx.post(url(console, "/sign-in"), data=form)


def test_a_key_is_typed_once_and_stays_out_of_sight(console: RunningStack, page: Page) -> None:
    """A deep link asks for the key, shows its screen, and again after F5; no address, cookie or log has the key."""
    key = console.keys["admin"]
    page.goto(url(console, "/users?q=ada"))
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    assert page.url == url(console, "/users?q=ada")

    page.reload()

    expect(page.get_by_role("heading", name="Users")).to_be_visible()
    cookie = next(cookie for cookie in page.context.cookies() if cookie["name"].startswith("tinycdp_console"))
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert key not in page.url + page.content() + str(page.context.cookies())
    logs = [path.read_text() for path in Path(console.settings.home / "logs").iterdir()]
    assert key not in "".join(logs)


@pytest.mark.deep
def test_a_link_signs_in_once(console: RunningStack, page: Page) -> None:
    """`tinycdp sign-in` prints a link; who opens it second is asked for a key."""
    link = console.json("sign-in")["url"]
    assert console.keys["admin"] not in link
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()

    page.goto(link)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_contain_text("used already")


@pytest.mark.deep
def test_signing_out_ends_it(console: RunningStack, page: Page) -> None:
    """The cookie of before opens nothing any more."""
    page.goto(console.json("sign-in")["url"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Sign out")).to_be_visible()
    cookies = page.context.cookies()
    page.get_by_role("link", name="Sign out").click()
    expect(page.get_by_label("Key")).to_be_visible()

    page.context.add_cookies([{"name": c["name"], "value": c["value"], "url": url(console)} for c in cookies])
    page.goto(url(console))

    expect(page.get_by_label("Key")).to_be_visible()


def test_a_page_of_others_signs_nobody_out(console: RunningStack, signed_in: Page) -> None:
    """A link of theirs leads to a question; so does an address that was typed. The button signs out."""
    for site in ("cross-site", "same-site", "none", None):
        headers = {} if site is None else {"Sec-Fetch-Site": site}
        answer = httpx.get(url(console, "/sign-out"), headers=headers)
        assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None), site
    assert httpx.post(url(console, "/sign-out"), headers={"Origin": "http://elsewhere.example"}).status_code == 403

    signed_in.goto(url(console, "/sign-out"))
    expect(signed_in.get_by_role("button", name="Sign out")).to_be_visible()
    signed_in.goto(url(console, "/users"))
    expect(signed_in.get_by_role("heading", name="Users")).to_be_visible()

    signed_in.goto(url(console, "/sign-out"))
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_label("Key")).to_be_visible()
    signed_in.goto(url(console, "/users"))
    expect(signed_in.get_by_label("Key")).to_be_visible()


def test_keys_that_may_not_administer_are_refused_in_the_words_of_the_api(console: RunningStack) -> None:
    """A read key and an unknown one; a form without a key."""
    refused = posted(console, key=console.keys["read"])
    unknown = posted(console, key="tcdp_unknown")

    assert (refused.status_code, unknown.status_code) == (403, 401)
    assert "permission required" in refused.text
    assert "Valid API key required" in unknown.text
    assert not {"set-cookie"} & {*refused.headers, *unknown.headers}
    assert [posted(console, key=key).status_code for key in ("", " ", "schlüssel")] == [401] * 3


@pytest.mark.parametrize("path", ["//elsewhere.example/", "https://elsewhere.example/", "/\\elsewhere", "/sign-out"])
def test_a_sign_in_leads_to_no_other_host(console: RunningStack, path: str) -> None:
    """What a link says to go on to is a screen of the console, or left out."""
    answer = posted(console, key=console.keys["admin"], next=path)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_other_names_are_refused(console: RunningStack) -> None:
    """A name that is not the console's gets 421, whatever it asks for, and the setting that allows it."""
    for path in ("/", "/sign-in", "/_stcore/health"):
        answer = httpx.get(url(console, path), headers={"Host": "elsewhere.example"})
        assert answer.status_code == 421
        assert "TINYCDP_CONSOLE_HOSTS" in answer.text


def test_a_page_of_others_signs_nobody_in(console: RunningStack) -> None:
    """A form that another origin sends is refused, though its key is right."""
    headers = {"Origin": "http://elsewhere.example"}
    answer = httpx.post(url(console, "/sign-in"), data={"key": console.keys["admin"]}, headers=headers)

    assert (answer.status_code, answer.headers.get("set-cookie")) == (403, None)


def test_nothing_is_shown_without_a_sign_in(console: RunningStack) -> None:
    """Every page leads to the sign-in, and a file is refused."""
    assert httpx.get(url(console, "/users?q=a")).headers["location"] == "/sign-in?next=%2Fusers%3Fq%3Da"
    assert httpx.get(url(console, "/media/some.csv")).status_code == 403
