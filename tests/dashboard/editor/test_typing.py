"""The editor in a real browser: what is typed, what is shown while it is, and what Python gets."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Locator, Page, Request, Route, expect

from dashboard.editor.bundle import file_name
from tests.dashboard.editor.conftest import Open
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


def editor(page: Page) -> Locator:
    """Where the text is typed."""
    return page.get_by_role("textbox", name="Expression")


def verdict(page: Page) -> Locator:
    """The line under the text."""
    return page.locator(".verdict")


def in_python(page: Page, text: str) -> None:
    """Waits until Python has this text."""
    expect(page.get_by_test_id("stCode")).to_have_text(text)


def runs(page: Page) -> int:
    """How often the page ran."""
    return int(page.get_by_text("runs ").inner_text().removeprefix("runs "))


def selected(option: Locator) -> bool:
    """Whether a completion is the one that a key would take."""
    return option.get_attribute("aria-selected") == "true"


def test_completions_come_with_types_and_one_is_taken_by_a_key(open_page: Open) -> None:
    """The list opens while a name is typed; Enter writes it, and Tab would as well."""
    page = open_page(kind="segment", text="1 == 1")
    editor(page).fill('"🦉" != "" && ')
    editor(page).press("End")
    editor(page).press_sequentially("editor_")

    options = page.locator(".cm-tooltip-autocomplete").get_by_role("option")
    expect(options.first).to_contain_text("editor_orders")
    expect(options.first).to_contain_text("number")
    # A list that has just opened takes no keys, so that a key on its way does not take what nobody has read.
    wait_until(lambda: page.keyboard.press("ArrowDown") or selected(options.nth(1)), "the list takes keys")
    page.keyboard.press("ArrowUp")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")

    editor(page).press_sequentially(" >= 1")
    expect(verdict(page)).to_have_text("Valid: boolean")
    in_python(page, '"🦉" != "" && editor_orders >= 1')


def test_mistakes_are_underlined_where_they_are(open_page: Open) -> None:
    """All of them at once, also behind a character of two UTF-16 units; the line under the text names the first."""
    page = open_page(kind="segment", text='profile.plan == "🦉" && editor_order > 1 || nothing')

    expect(page.locator(".cm-lintRange-error")).to_have_text(["editor_order", "nothing"])
    expect(verdict(page)).to_have_text("Line 1, column 24: no trait editor_order")
    expect(page.locator(".notes")).to_contain_text("Did you mean editor_orders")

    editor(page).fill("editor_orders > 1")
    expect(verdict(page)).to_have_text("Valid: boolean")
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)


@pytest.mark.deep
def test_people_are_counted_after_a_pause(open_page: Open) -> None:
    """For how many the expression holds, some of them, and what looks wrong."""
    page = open_page(kind="segment", text="events.editor_order.count == 1 && events.nevers.count == 0")

    expect(page.locator(".count")).to_contain_text("2 of ")
    expect(page.locator(".count")).to_contain_text("editor-ada")
    expect(page.locator(".notes")).to_contain_text("nevers")


@pytest.mark.deep
def test_r_and_c_are_letters_in_the_editor_and_in_its_popups(open_page: Open) -> None:
    """Streamlit reruns at `r` and clears caches at `c`: not for what is typed here, nor with the focus on a popup."""
    page = open_page(kind="segment", text="1 == 1")
    editor(page).fill("")
    editor(page).press_sequentially("rc")
    in_python(page, "rc")
    expect(page.locator(".cm-lintRange-error")).to_have_count(1)
    before = runs(page)

    page.keyboard.press("Control+Shift+KeyM")
    popup = page.locator(".cm-panel-lint ul")
    expect(popup).to_be_focused()
    page.keyboard.type("rcrc")

    page.get_by_text("saved False").click()
    page.keyboard.press("r")  # outside of the editor they do what Streamlit says
    expect(page.get_by_text(f"runs {before + 1}", exact=True)).to_be_visible()
    assert page.get_by_role("dialog").count() == 0
    page.keyboard.press("c")
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.deep
def test_saving_by_the_keyboard_formats_first(open_page: Open) -> None:
    """Ctrl+S writes the text as the language writes it, gives it to Python, and calls what saves."""
    page = open_page(kind="segment", text="( editor_orders>=1 )")
    editor(page).press("Control+s")

    expect(page.get_by_text("saved True")).to_be_visible()
    expect(editor(page)).to_have_text("editor_orders >= 1")
    in_python(page, "editor_orders >= 1")


@pytest.mark.deep
def test_a_text_that_is_not_valid_is_not_formatted(open_page: Open) -> None:
    """It stays as it was typed."""
    page = open_page(kind="segment", text="( editor_orders>=  ")
    page.get_by_role("button", name="Format").click()

    expect(verdict(page)).to_contain_text("ends too early")
    expect(editor(page)).to_have_text("( editor_orders>=  ", use_inner_text=True)


@pytest.mark.deep
def test_a_text_that_python_sets_is_taken_over(open_page: Open) -> None:
    """And what is typed afterwards stays through reruns."""
    page = open_page(kind="trait", text="editor_orders")
    page.get_by_role("button", name="Set another text").click()
    expect(editor(page)).to_have_text("profile.set_by_python")

    editor(page).press("End")
    editor(page).press_sequentially("_too", delay=30)
    in_python(page, "profile.set_by_python_too")
    expect(editor(page)).to_have_text("profile.set_by_python_too")


@pytest.mark.deep
def test_what_is_asked_about_an_older_text_is_dropped(open_page: Open) -> None:
    """While the console answers nothing typing goes on; then the answer is about the text as it stands."""
    page = open_page(kind="segment", text="1 == 1")
    expect(verdict(page)).to_have_text("Valid: boolean")
    held: list[Route] = []
    dropped: list[Request] = []
    page.on("requestfailed", lambda request: dropped.append(request))
    page.route("**/expression-editor/check", lambda route: held.append(route))
    editor(page).fill("nothing == 1")
    wait_until(lambda: page.wait_for_timeout(20) or held, "the first text is asked about")
    editor(page).press("End")
    editor(page).press_sequentially(" || editor_orders == 1")
    expect(editor(page)).to_have_text("nothing == 1 || editor_orders == 1")

    page.unroute("**/expression-editor/check")
    editor(page).fill("editor_orders == 1")

    expect(verdict(page)).to_have_text("Valid: boolean")
    assert dropped, "the browser gives up what it asked before"
    expect(page.locator(".cm-lintRange-error")).to_have_count(0)


@pytest.mark.deep
def test_an_api_that_is_away_is_said_and_asked_again(open_page: Open) -> None:
    """The editor comes back by itself."""
    page = open_page(kind="segment", text="1 == 1")
    page.route("**/expression-editor/check", lambda route: route.abort())
    editor(page).fill("editor_orders == 1")
    expect(verdict(page)).to_have_text("The console does not answer.")

    page.unroute("**/expression-editor/check")
    expect(verdict(page)).to_have_text("Valid: boolean", timeout=10_000)


@pytest.mark.deep
def test_tab_leaves_the_editor(open_page: Open) -> None:
    """No keyboard is caught in it: the next stop is the button below."""
    page = open_page(kind="segment", text="1 == 1")
    editor(page).focus()
    page.keyboard.press("Tab")

    expect(page.get_by_role("button", name="Format")).to_be_focused()


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(244, 246, 248)"), ("dark", "rgb(26, 30, 38)")])
def test_the_editor_follows_the_theme(open_page: Open, page: Page, scheme: str, background: str) -> None:
    """Its field has the colour of the console's other fields."""
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    open_page(kind="segment", text="1 == 1")

    expect(page.locator(".cm-editor")).to_have_css("background-color", background)


@pytest.mark.deep
def test_a_text_that_was_not_saved_is_forgotten_once_its_page_is_left(open_page: Open) -> None:
    """As Streamlit forgets what stands in its own fields."""
    page = open_page(kind="segment", text="1 == 1")
    editor(page).fill("2 == 2")
    in_python(page, "2 == 2")
    page.get_by_text("Elsewhere").click()
    expect(editor(page)).to_have_count(0)
    page.get_by_text("Elsewhere").click()

    expect(editor(page)).to_have_text("1 == 1")
    in_python(page, "1 == 1")


@pytest.mark.deep
def test_a_shown_expression_cannot_be_changed(open_page: Open) -> None:
    """It is checked all the same."""
    page = open_page(kind="segment", text="editor_orders >= 1", disabled="1")
    expect(verdict(page)).to_have_text("Valid: boolean")
    editor(page).press_sequentially("x")

    expect(editor(page)).to_have_text("editor_orders >= 1")
    expect(page.get_by_role("button", name="Format")).to_be_hidden()


@pytest.mark.deep
def test_the_bundle_is_kept_for_ever_and_questions_need_a_sign_in(open_page: Open, small_console: str) -> None:
    """The file is for anybody; a check without the cookie is 401, and a question that is none 400."""
    page = open_page(kind="segment", text="1 == 1")
    source = f"{small_console}/expression-editor/{file_name()}"
    check = f"{small_console}/expression-editor/check"

    file = httpx.get(source)
    assert (file.status_code, file.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert httpx.post(check, json={"kind": "segment", "expression": "1"}).status_code == 401
    cookies = {str(cookie["name"]): str(cookie["value"]) for cookie in page.context.cookies()}
    for content in (b"", b"[]", b'{"kind": "segment"}', b'{"kind": 1, "expression": "' + b"x" * 200_000 + b'"}'):
        assert httpx.post(check, content=content, cookies=cookies).status_code == 400, content[:40]
    assert httpx.post(check, json={"kind": "nothing", "expression": "1"}, cookies=cookies).status_code == 400
