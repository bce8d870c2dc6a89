"""`tinycdp purge --now` against a running stack: nothing of a deleted person is left, and nothing else is touched."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from serving.ids import ID_CHARACTERS_MAX
from tests.change_streams import bulk, listening, stream_url
from tests.running import RunningStack
from tests.waiting import wait_until

# It searches all that the stack holds, which grows with each test: with this mark it is one of the first.
pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(300)]

USER, DEVICE = "purge-me-7c1f0b54", "purge-device-99e0a1"


def bytes_naming(folder: Path, text: str) -> list[Path]:
    """The files that have a text in their bytes. No code of TinyCDP reads them."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def send_purchase(stack: RunningStack, number: int) -> None:
    """Sends a purchase of a bystander, which must be accepted."""
    stack.track("purge-bystander", "purge_order", properties={"amount": 1}, messageId=f"bystander-{number}")


@pytest.mark.deep
def test_a_running_stack_forgets_a_person_to_the_last_byte(stack: RunningStack) -> None:
    """Drain and worker give way to a purge. Events of others are accepted all the while, and each counts once."""
    stack.tinycdp("purge", "--now", ok=False)  # people whom other tests deleted: those tests judge the search
    stack.define("trait", "purge_orders", "events.purge_order.count")
    stack.call(
        "POST", "/v1/identify", "write", json={"userId": USER, "anonymousId": DEVICE, "traits": {"city": "Oslo"}}
    )
    stack.track(USER, "purge_order", properties={"amount": 5, "note": f"of {USER}"}, messageId="purge-1")
    stack.call("POST", "/v1/track", "write", json={"userId": USER, "event": 7})  # refused, and kept with its reason
    naming = {"note": f"with {USER}", "friends": [USER, f"anon:{DEVICE}"]}
    stack.track("purge-friend", "purge_order", properties=naming, messageId="friend-1")
    flag = {"key": "purge_beta", "rule": "true", "users": {USER: False, "purge-friend": False}}
    assert stack.call("POST", "/v1/admin/flags", json=flag).status_code < 300
    stack.json("rebuild")
    assert stack.traits(USER)["traits"]["purge_orders"] == 1
    assert bytes_naming(stack.settings.home, USER)

    answer = stack.call("DELETE", f"/v1/admin/users/{USER}").json()
    assert answer["success"] and len(answer["deleted"]) == 2
    stop = threading.Event()
    numbers: list[int] = []

    def send() -> None:
        while not stop.is_set():
            send_purchase(stack, len(numbers))
            numbers.append(1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        wait_until(lambda: len(numbers) > 5, "the first events")
        report: dict[str, Any] = stack.json("purge", "--now", "--redact", "--id", USER, "--id", f"anon:{DEVICE}")
        during = len(numbers)
        wait_until(lambda: len(numbers) > during + 5, "events after the purge")
    finally:
        stop.set()
        sender.join()

    assert report["clean"] and report["searched"]["found"] == []
    assert report["searched"]["ids"] >= 2 and report["searched"]["places"] > 50
    assert report["purged"]["gone"] >= 2
    assert (report["purged"]["flags"], report["purged"]["redacted"]) == (1, 1)
    assert [stack.decide(user, "purge_beta")["allow"] for user in (USER, "purge-friend")] == [True, False]
    data = stack.call("GET", "/v1/admin/users/purge-friend/data").json()
    assert data["events"][0]["properties"] == {"note": "with [deleted]", "friends": ["[deleted]", "[deleted]"]}
    assert bytes_naming(stack.settings.home, USER) == bytes_naming(stack.settings.home, DEVICE) == []
    assert stack.traits("purge-bystander")["traits"]["purge_orders"] == len(numbers)
    stack.json("rebuild")
    assert stack.traits("purge-bystander")["traits"]["purge_orders"] == len(numbers)
    assert stack.traits(USER).get("traits", {}).get("purge_orders", 0) == 0
    assert stack.json("doctor")["well"]
    assert "found        none" in stack.tinycdp("purge", "--now", "--id", USER).stdout


@pytest.mark.deep
def test_a_page_that_asks_all_the_while_leaves_no_name(stack: RunningStack) -> None:
    """An open page of somebody who is gone asks for its flags, and for the address of its stream, during the purge."""
    user = "purge-page-51d2"
    stack.track(user, "purge_order")
    stop = threading.Event()
    answers: list[dict[str, Any]] = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(bulk(stack, user).json())

    with listening(stream_url(stack, user)) as page:
        assert stack.call("DELETE", f"/v1/admin/users/{user}").json()["success"]
        asker = threading.Thread(target=ask)
        asker.start()
        try:
            report = stack.json("purge", "--now", "--redact", "--id", user)
        finally:
            stop.set()
            asker.join()
        assert not page.is_over

    assert report["clean"], report["searched"]["found"]
    assert all("eventStreams" in answer for answer in answers) and len(answers) > 1
    assert bytes_naming(stack.settings.home, user) == []


#: The longest id of each kind, by the field that an event names it in. With its kind it is longer than any id.
LONGEST = {
    "userId": "user:" + "🐌" * (ID_CHARACTERS_MAX - 1) + "u",
    "anonymousId": "anon:" + "L" * ID_CHARACTERS_MAX,
    "emailHash": "email:" + "e5" * (ID_CHARACTERS_MAX // 2),
}


@pytest.mark.deep
def test_people_with_the_longest_ids_are_forgotten(stack: RunningStack) -> None:
    """`--id` takes an id with its kind, however long: it is found before its delete, and nowhere after the purge."""
    options = [word for id in LONGEST.values() for word in ("--id", id)]
    for field, id in LONGEST.items():
        raw = id.partition(":")[2]
        sent = {field: raw, "event": "purge_long", "properties": {"note": f"of {raw}"}}
        assert stack.call("POST", "/v1/track", "write", json=sent).status_code == 200
        stack.call("POST", "/v1/track", "write", json={**sent, "timestamp": "never"})  # refused, and kept
    stack.track("purge-long-friend", "purge_order", properties={"friends": list(LONGEST.values())}, messageId="long-f")
    stack.json("rebuild")
    before = stack.json("purge", *options, ok=False)

    for id in LONGEST.values():
        assert stack.call("DELETE", f"/v1/admin/users/{quote(id, safe='')}").json()["success"]
    after = stack.json("purge", "--now", "--redact", *options)

    assert not before["clean"] and before["searched"]["ids"] >= len(LONGEST)
    assert after["clean"] and after["searched"]["found"] == []
    assert after["purged"]["gone"] >= len(LONGEST) and after["purged"]["redacted"] >= 1
    for id in LONGEST.values():
        assert bytes_naming(stack.settings.home, id.partition(":")[2]) == []
        assert stack.call("GET", f"/v1/admin/users/{quote(id, safe='')}").status_code == 404
    data = stack.call("GET", "/v1/admin/users/purge-long-friend/data").json()
    assert data["events"][0]["properties"] == {"friends": ["[deleted]"] * len(LONGEST)}
