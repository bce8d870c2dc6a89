"""Ids that end lines for somebody: a line feed, and U+2028, which is valid in JSON and ends lines in JavaScript."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

ODD = ("odd\u2028id", "\u2028odd", "odd\u2028", "odd\u2029id", "odd\x85id", "odd\nid", "odd\r\n")


@pytest.fixture(scope="module")
def odd(stack: RunningStack) -> RunningStack:
    """A stack with an event of each such user, in the lake."""
    stack.define("segment", "odd_ids", "events.odd_id.count >= 1")
    stack.define("flag", "odd_flag", 'segment("odd_ids")')
    for number, id in enumerate(ODD):
        stack.track(id, "odd_id", messageId=f"odd-{number}")
    wait_until(lambda: len(stack.json("users", "odd_ids")["users"]) == len(ODD), "the events are drained")
    return stack


def asked(stack: RunningStack, id: str, word: str = "") -> Any:
    """What the API says of a user by path."""
    answer = stack.call("GET", f"/v1/admin/users/{quote(id, safe='')}{word}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("id", ODD)
def test_such_an_id_is_one_id_everywhere(odd: RunningStack, id: str) -> None:
    """It decides, is read, found and explained by the very text that was sent, and so does the batch have it."""
    found = odd.call("GET", "/v1/admin/users/search", params={"query": id}).json()["users"]

    assert odd.decide(id, "odd_flag")["allow"]
    assert odd.call("GET", f"/v1/users/{quote(id, safe='')}/traits").json()["segments"]["odd_ids"]
    assert asked(odd, id)["user"]["id"] == f"user:{id}"
    assert [event["name"] for event in asked(odd, id, "/events")["events"]] == ["odd_id"]
    assert f"user:{id}" in [user["id"] for user in found]
    assert odd.json("explain", id, "odd_ids")["known"]


@pytest.mark.deep
def test_lists_of_ids_have_a_line_for_each(odd: RunningStack) -> None:
    """`tinycdp users` writes such an id as JSON, and CSV in quotes."""
    lines = odd.tinycdp("users", "odd_ids").stdout.split("\n")
    text = odd.call("GET", "/v1/export/segment/odd_ids").json()["downloadUrl"]
    rows = list(csv.DictReader(io.StringIO(odd.http.get(text).content.decode(), newline="")))

    assert sorted(line for line in lines if line) == sorted(map(json.dumps, ODD))
    assert sorted(row["user_id"] for row in rows) == sorted(ODD)


def test_such_a_person_is_deleted(odd: RunningStack) -> None:
    """By path, and nothing is left of them."""
    odd.track("odd\u2028gone", "odd_gone")
    assert odd.call("DELETE", f"/v1/admin/users/{quote('odd' + chr(0x2028) + 'gone', safe='')}").status_code == 200

    assert not odd.json("explain", "odd\u2028gone", "odd_ids")["known"]
