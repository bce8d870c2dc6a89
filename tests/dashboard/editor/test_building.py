"""The builder: what it shows of a text, and the text that it makes; most of it without a browser."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Selectbox

from dashboard import access
from tests.dashboard.editor import small_console
from tests.dashboard.editor.conftest import Open
from tests.dashboard.screens import Screens
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]

#: Opens the builder on a text.
Build = Callable[..., AppTest]


@pytest.fixture
def build(defined: RunningStack, screens: Screens, monkeypatch: pytest.MonkeyPatch) -> Build:
    """The page with an expression, in the builder's mode, after its first run."""
    cookie = screens.console.keyring.sign_in(defined.keys["admin"])
    monkeypatch.setattr(access, "cookie", lambda: cookie)

    def build(text: str = "", kind: str = "segment") -> AppTest:
        app = AppTest.from_file(small_console.__file__, default_timeout=30)
        app.query_params.update({"kind": kind, "text": text})
        app.run()
        if text:  # an empty one begins with the builder
            app.button_group[0].set_value("Builder").run()
        assert not app.exception
        return app

    return build


def text(app: AppTest) -> str:
    """The text that Python has."""
    return str(app.code[-1].value)


def choice(app: AppTest, label: str, number: int = 0) -> Selectbox:
    """The widget of this label, or one of several."""
    return [box for box in app.selectbox if box.label == label][number]


def click(app: AppTest, label: str, number: int = 0) -> None:
    """Clicks a button, or one of several."""
    [button for button in app.button if button.label == label][number].click().run()


@pytest.mark.parametrize(
    "given",
    [
        "events.editor_order.count_30d >= 3",
        'events.editor_order.where(currency == "EUR" && amount > 5).amount.sum_90d >= 100.5',
        'segment("editor_loyal") || !segment("editor_loyal")',
        'profile.plan in ["pro", "team"] && !(profile.age in [1, 2]) && profile.seen == true && profile.x != null',
        'trait("editor_orders") == 1 && (count_7d > 5 || !(trait("editor_orders") < 2 || profile.a == ""))',
    ],
)
def test_a_text_is_read_back_and_stays_until_something_is_changed(build: Build, given: str) -> None:
    """To look at it changes nothing, however often the page runs."""
    app = build(given)
    app.run()

    assert not app.exception
    assert not app.info and not app.warning
    assert choice(app, "Which parts must hold")
    assert text(app) == given


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("events.editor_order.amount.sum / 2 > 5", "arithmetic"),
        ('lower(profile.plan) == "pro"', "a function"),
        ("editor_orders >= ", "a mistake"),
    ],
)
def test_a_text_that_it_cannot_show_is_left_alone(build: Build, given: str, says: str) -> None:
    """It says why."""
    app = build(given)

    assert says in app.info[0].value
    assert not [box for box in app.selectbox]
    assert text(app) == given


def test_a_trait_is_built_from_nothing(build: Build) -> None:
    """Names come from the vocabulary, and so does what an aggregate needs."""
    app = build(kind="trait")
    event = choice(app, "Name of the event")
    assert "editor_order" in event.options
    event.set_value("editor_order").run()
    assert text(app) == "events.editor_order.count"

    choice(app, "Aggregate").set_value("sum").run()
    assert text(app) == "events.editor_order.count"
    assert "the property" in app.warning[0].value
    assert set(choice(app, "Property").options) == {"amount", "currency"}
    choice(app, "Property").set_value("amount").run()
    choice(app, "Within").set_value("30d").run()

    assert not app.warning
    assert text(app) == "events.editor_order.amount.sum_30d"


def test_conditions_and_groups_are_added_and_removed(build: Build) -> None:
    """A part that lacks something changes no text, and says what it lacks."""
    app = build('segment("editor_loyal")')
    click(app, "Add group")
    assert text(app) == 'segment("editor_loyal")'
    assert "Choose the event" in app.warning[0].value

    choice(app, "Name of the event").set_value("editor_order").run()
    app.number_input[0].set_value(2).run()
    assert text(app) == 'segment("editor_loyal") && events.editor_order.count >= 2'

    choice(app, "Which parts must hold").set_value("any").run()
    assert text(app) == 'segment("editor_loyal") || events.editor_order.count >= 2'
    click(app, "Remove")
    assert text(app) == "events.editor_order.count >= 2"
    click(app, "Remove")
    assert text(app) == ""


def test_what_was_not_saved_is_forgotten_once_its_page_is_left(build: Build) -> None:
    """So the next new definition begins from nothing."""
    app = build(kind="trait")
    choice(app, "Name of the event").set_value("editor_order").run()
    assert text(app) == "events.editor_order.count"
    app.toggle[0].set_value(True).run()
    app.toggle[0].set_value(False).run()

    assert text(app) == ""
    assert choice(app, "Name of the event").value is None


def test_the_value_has_the_type_of_what_it_is_compared_with(build: Build) -> None:
    """A number is compared as a number, and a text of digits as a text."""
    app = build("events.editor_order.count >= 1")
    app.toggle[1].set_value(True).run()
    choice(app, "Name of the property").set_value("currency").run()
    app.text_input[0].set_value("5").run()
    assert text(app) == 'events.editor_order.where(currency == "5").count >= 1'

    choice(app, "Name of the property").set_value("amount").run()
    app.number_input[-1].set_value(5.5).run()
    assert text(app) == "events.editor_order.where(amount == 5.5).count >= 1"


def test_examples_are_read_when_they_are_asked_for(build: Build) -> None:
    """They are values that were seen."""
    app = build('events.editor_order.where(currency == "USD").count >= 1')
    assert not [box for box in app.selectbox if box.label == "Value"]
    click(app, "Examples")

    value = choice(app, "Value")
    assert {"EUR", "USD"} <= set(value.options)
    value.set_value("EUR").run()
    assert text(app) == 'events.editor_order.where(currency == "EUR").count >= 1'


@pytest.mark.deep
def test_in_a_browser_a_built_text_is_shown_counted_and_goes_on_as_text(open_page: Open) -> None:
    """The builder and the editor are one input: each begins where the other was left."""
    page = open_page(kind="segment", text="")
    chosen(page, "Name of the event", "editor_order")
    number = page.get_by_role("spinbutton", name="Value")
    number.fill("0.1234567")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stCode")).to_have_text("events.editor_order.count >= 0.1234567")
    number.fill("1")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("stCode")).to_have_text("events.editor_order.count >= 1")
    expect(page.locator(".count")).to_contain_text("2 of ")

    page.get_by_text("Text", exact=True).click()
    editor = page.get_by_role("textbox", name="Expression")
    expect(editor).to_have_text("events.editor_order.count >= 1")
    expect(page.get_by_role("button", name="Format")).to_be_visible()
    editor.press("End")
    editor.press_sequentially("0")
    page.get_by_text("Builder", exact=True).click()

    expect(number).to_have_value("10")
    expect(page.get_by_test_id("stCode")).to_have_text("events.editor_order.count >= 10")
    number.fill("11")
    page.get_by_text("Text", exact=True).click()

    expect(editor).to_have_text("events.editor_order.count >= 11")
    expect(page.get_by_test_id("stCode")).to_have_text("events.editor_order.count >= 11")


def chosen(page: Page, label: str, value: str) -> None:
    """Chooses a value by the keyboard."""
    box = page.get_by_role("combobox", name=label)
    box.fill(value)
    expect(page.get_by_role("option", name=value).first).to_be_visible()
    box.press("Enter")
