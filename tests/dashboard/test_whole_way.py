"""The whole way over the demo's shop, in a browser: from a trait to a decision, and what people ask about it later."""

from __future__ import annotations

import csv
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from cli.demo import DEFINITIONS, PURCHASES, read_definitions
from tests.dashboard.editor.test_building import chosen
from tests.dashboard.screens import opened, opened_dialog, press, settled
from tests.dashboard.test_rejected import refused_event, row_of
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(480)]

#: Customers by what they spent in the last 30 days of the purchases, counted without us.
SPENT_500 = {"c07592", "c08830", "c10197", "c14048", "c00499"}
SPENT_400 = 9
#: Spent 272.37 in these days.
CUSTOMER = "c10902"
HEADER_PX, ROW_PX = 35, 34


@pytest.fixture(scope="module")
def shop(console: RunningStack) -> RunningStack:
    """The stack with the history and the definitions of the demo."""
    for one in read_definitions(DEFINITIONS):
        console.define(one.kind, one.key, one.expression, **one.settings)
    columns = ("--user", "user_id", "--event", "event", "--time", "timestamp")
    imported = console.json("import", str(PURCHASES), *columns, "--shift-to-now")
    assert imported["rejected"] == 0
    return console


@pytest.mark.deep
def test_from_a_trait_to_its_decisions_and_back_to_why(shop: RunningStack, signed_in: Page) -> None:
    """A trait, a segment and a flag are built; a repaired event changes an answer, and everything else says so, too."""
    page = signed_in
    build_definitions(shop, page)
    raise_the_threshold(shop, page)
    key = make_key(shop, page)
    send_again_what_was_refused(shop, page, key)
    find_and_explain(shop, page)
    export_the_members(shop, page)
    revoke(shop, page, key)


def build_definitions(shop: RunningStack, page: Page) -> None:
    """With the builder, each from the one before, and each looked at before it is saved."""
    text = page.get_by_role("textbox", name="Expression")
    opened(shop, page, "/traits?new=1")
    chosen(page, "Name of the event", "purchase")
    expect(text).to_have_text("events.purchase.count")
    chosen(page, "Aggregate", "sum")
    chosen(page, "Property", "amount")
    expect(text).to_have_text("events.purchase.amount.sum")
    chosen(page, "Within", "30d")
    expect(text).to_have_text("events.purchase.amount.sum_30d")
    save_new(page, "shop_spent")

    text = page.get_by_role("textbox", name="Rule")
    opened(shop, page, "/segments?new=1")
    chosen(page, "Look at", "trait")
    chosen(page, "Name of the trait", "shop_spent")
    number = page.get_by_role("spinbutton", name="Value", exact=True)
    number.fill("400")
    number.press("Enter")
    expect(text).to_contain_text("shop_spent")
    expect(text).to_contain_text(">= 400")
    expect(page.locator(".count")).to_contain_text(f"{SPENT_400} of ")
    save_new(page, "shop_guests")

    opened(shop, page, "/flags?new=1")
    chosen(page, "Look at", "segment")
    chosen(page, "Name of the segment", "shop_guests")
    expect(text).to_have_text('segment("shop_guests")')
    expect(page.locator(".count")).to_contain_text(f"{SPENT_400} of ")
    save_new(page, "shop_offer")


def raise_the_threshold(shop: RunningStack, page: Page) -> None:
    """The impact names the people and the decisions, before anything is saved."""
    opened(shop, page, "/segments?key=shop_guests")
    text = page.get_by_role("textbox", name="Rule")
    expect(text).to_contain_text(">= 400")
    text.fill("shop_spent >= 500")
    press(page.get_by_role("button", name="Who is affected?"))
    leave = SPENT_400 - len(SPENT_500)
    for named in ("segment shop_guests", "flag shop_offer"):
        reached = page.get_by_text(re.compile(f"^{named}: {SPENT_400} → {len(SPENT_500)} people"))
        expect(reached).to_contain_text(f"{leave} leave")
    expect(page.get_by_text(f"{leave}: allow → refuse")).to_be_visible()
    assert "400" in shop.call("GET", "/v1/admin/segments/shop_guests").json()["segment"]["rule"]
    save_in_dialog(page)

    opened(shop, page, "/flags?key=shop_offer&tab=Test&user=c00499")
    expect(page.get_by_test_id("stMain")).to_contain_text("allow")
    expect(page.get_by_role("listitem").filter(has_text="events.purchase.amount.sum_30d").last).to_contain_text(
        "511.73"
    )


def make_key(shop: RunningStack, page: Page) -> str:
    """A key that sends events."""
    opened(shop, page, "/settings")
    dialog = opened_dialog(page.get_by_role("button", name="New key"))
    dialog.get_by_label("Label").fill("shop till")
    dialog.get_by_label("Label").press("Enter")
    press(dialog.get_by_role("button", name="Make it"))
    return dialog.get_by_test_id("stCode").inner_text().strip()


def send_again_what_was_refused(shop: RunningStack, page: Page, key: str) -> None:
    """A purchase whose time was wrong counts once it is repaired, live and in the lake."""
    sent = {"userId": CUSTOMER, "event": "purchase", "timestamp": "at noon", "properties": {"amount": 300.5}}
    assert sending(shop, key, sent) == 400
    assert shop.decide(CUSTOMER, "shop_offer")["allow"] is False
    event = refused_event(shop, "at noon")

    opened(shop, page, "/rejected")
    refused = row_of(page, event)
    press(refused.locator("summary"))
    expect(refused).to_contain_text("shop till")
    dialog = opened_dialog(refused.get_by_role("button", name="Send again …"))
    field = dialog.get_by_label("Event, as JSON")
    expect(field).to_have_value(re.compile("at noon"))
    field.fill(re.sub(r'"timestamp": "at noon",?', "", field.input_value()))
    field.press("Control+Enter")
    press(dialog.get_by_role("button", name="Send again"))
    expect(page.get_by_text("1 sent")).to_be_visible()

    wait_until(lambda: shop.decide(CUSTOMER, "shop_offer")["allow"], "the answer changes")
    wait_until(lambda: CUSTOMER in members(shop), "the lake has the event, too")


def find_and_explain(shop: RunningStack, page: Page) -> None:
    """By a part of the id, to the person, and from there to why."""
    opened(shop, page, "/users")
    page.get_by_role("searchbox").fill(CUSTOMER)
    pick(page, CUSTOMER)
    expect(page.get_by_role("heading", name=f"user:{CUSTOMER}")).to_be_visible()
    page.get_by_text("Decisions", exact=True).click()
    expect(page.get_by_text("Click on a flag to see why.")).to_be_visible()
    row = page.get_by_role("combobox", name="Open a row")  # the table draws rows in view, and there are others' flags
    expect(row).to_have_count(1)
    row.fill("shop_offer")
    expect(page.get_by_role("option").first).to_contain_text("shop_offer")
    row.press("Enter")
    why = page.get_by_role("listitem").filter(has_text="events.purchase.amount.sum_30d").last
    expect(why).to_contain_text("572.87")


def export_the_members(shop: RunningStack, page: Page) -> None:
    """The file has those whom the list shows."""
    opened(shop, page, "/segments?key=shop_guests&tab=Members")
    expect(page.get_by_test_id("stMetric").first).to_contain_text(str(len(SPENT_500) + 1))
    first = page.locator("td[id^='glide-cell-0-']")
    expect(first).to_have_count(len(SPENT_500) + 1)
    shown = {str(cell) for cell in first.all_text_contents()}
    assert shown == {f"user:{one}" for one in SPENT_500 | {CUSTOMER}}

    press(page.get_by_role("button", name="Export all as CSV"))
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible()
    link.evaluate("link => { link.target = '_self' }")  # a tab that only downloads ends before it is looked at
    with page.expect_download() as download:
        link.click()
    with download.value.path().open(newline="") as file:
        assert sorted(f"user:{row['user_id']}" for row in csv.DictReader(file)) == sorted(shown)


def revoke(shop: RunningStack, page: Page, key: str) -> None:
    """It works until then."""
    sent = {"userId": CUSTOMER, "event": "seen"}
    assert sending(shop, key, sent) == 200
    opened(shop, page, "/settings")
    pick(page, "shop till")
    dialog = opened_dialog(page.get_by_role("button", name="Revoke shop till …"))
    press(dialog.get_by_role("button", name="Revoke"))
    expect(page.get_by_text("Revoked: shop till")).to_be_visible()
    wait_until(lambda: sending(shop, key, sent) == 401, "the key stops to work")


def save_new(page: Page, key: str) -> None:
    """Saves a new definition."""
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_label("Key", exact=True).press("Enter")
    save_in_dialog(page)
    expect(page.get_by_role("heading", name=key)).to_be_visible()


def save_in_dialog(page: Page) -> None:
    """Saves, after a look at the difference."""
    dialog = opened_dialog(page.get_by_role("button", name="Save …"))
    press(dialog.get_by_role("button", name="Save", exact=True))
    expect(dialog).to_have_count(0)


def pick(page: Page, text: str) -> None:
    """Clicks on the row of a table in which a text is. Tables are drawn; what is in them is told to screen readers."""
    settled(page)
    cell = page.locator("td[id^='glide-cell-']").filter(has_text=text).first
    expect(cell).to_be_attached()
    table: Locator = page.get_by_test_id("stDataFrame").filter(has=cell)
    row = int((cell.get_attribute("id") or "").rpartition("-")[2])
    table.click(position={"x": 40, "y": HEADER_PX + ROW_PX * row + ROW_PX / 2})


def sending(shop: RunningStack, key: str, event: dict[str, Any]) -> int:
    """The status of an event that is sent with a key."""
    return shop.http.post("/v1/track", json=event, headers={"Authorization": f"Bearer {key}"}).status_code


def members(shop: RunningStack) -> str:
    """The members of the segment, as the lake has them."""
    body = {"type": "segment", "expression": 'segment("shop_guests")'}
    return shop.call("POST", "/v1/admin/preview", json=body).text
