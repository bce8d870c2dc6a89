"""Bounds of a request, a batch and an event; a body that unpacks without end is given up."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import pytest

from serving.http.bodies import gunzipped
from serving.refusals import Invalid
from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")


def packed_nothing(megabytes: int) -> bytes:
    """A gzip stream of blanks: a thousandth of what it unpacks to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(b" " * 1_048_576) for _ in range(megabytes)), packer.flush()])


def test_a_gzip_bomb_is_refused(stack: RunningStack) -> None:
    """300 KB that unpack to 300 MB are 400, for a batch and for a single event."""
    bomb = packed_nothing(300)
    assert len(bomb) < 400_000

    for path in ("/v1/batch", "/v1/track"):
        answer = stack.call("POST", path, "write", content=bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 400, path
        assert "over" in answer.json()["message"]


def test_nothing_is_unpacked_beyond_the_bound() -> None:
    """Several members count together, and a byte beyond the bound is refused."""
    members = gzip.compress(b"x" * 60) + gzip.compress(b"y" * 40)

    assert gunzipped(members, 100) == b"x" * 60 + b"y" * 40
    with pytest.raises(Invalid, match="over 99 bytes"):
        gunzipped(members, 99)
    with pytest.raises(Invalid, match="over 100000 bytes"):
        gunzipped(b"".join([packed_nothing(1)] * 50), 100_000)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"not gzip", id="another format"),
        pytest.param(gzip.compress(b"{}")[:-9], id="a cut stream"),
        pytest.param(gzip.compress(b"{}") + b"more", id="bytes after the end"),
        pytest.param(b"\x1f\x8b", id="a header alone"),
    ],
)
def test_what_is_no_gzip_is_refused(body: bytes) -> None:
    """The refusal tells apart another format, a cut stream, and bytes after the end."""
    with pytest.raises(Invalid):
        gunzipped(body, 1_000)


def test_an_encoding_that_is_not_known_is_refused(stack: RunningStack) -> None:
    """Nothing is guessed: the answer names the header and what to send."""
    answer = stack.call("POST", "/v1/batch", "write", content=b"{}", headers={"Content-Encoding": "br"})

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "Content-Encoding")


def test_a_request_and_a_batch_are_bounded(stack: RunningStack) -> None:
    """500 KiB and 2,500 events pass; a byte or an event more is 400 (D-29: there were no limits)."""
    settings = stack.settings
    event = {"type": "track", "userId": "bound", "event": "bound", "messageId": "bound-1"}

    def status(**body: Any) -> int:
        return stack.call("POST", "/v1/batch", "write", json=body).status_code

    assert status(batch=[event] * settings.batch_events_max) == 200
    assert status(batch=[event] * (settings.batch_events_max + 1)) == 400
    frame = len(b'{"batch":[],"filler":""}')
    for size, expected in ((settings.body_bytes_max, 200), (settings.body_bytes_max + 1, 400)):
        text = b'{"batch":[],"filler":"' + b"x" * (size - frame) + b'"}'
        assert len(text) == size
        assert stack.call("POST", "/v1/batch", "write", content=text).status_code == expected


def test_an_event_is_bounded_and_takes_no_other_down(stack: RunningStack) -> None:
    """An event of 32 KiB passes; a larger one, or one that is no object, is refused alone and named by its index."""
    limit = stack.settings.event_bytes_max

    def event(size: int) -> bytes:
        start = b'{"type":"track","userId":"large","event":"large","properties":{"text":"'
        return start + b"x" * (size - len(start) - 3) + b'"}}'

    assert len(event(limit)) == limit
    body = b'{"batch":[' + b",".join([event(limit), event(limit + 1), b"7", event(100)]) + b"]}"
    answer = stack.call("POST", "/v1/batch", "write", content=body)

    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2
    assert [rejected["index"] for rejected in answer.json()["rejected"]] == [1, 2]
    assert stack.call("POST", "/v1/track", "write", content=event(limit)).status_code == 200
    assert stack.call("POST", "/v1/track", "write", content=event(limit + 2_000)).status_code == 400


def test_refused_events_are_kept_without_their_key(stack: RunningStack) -> None:
    """A write key that an event carries is not kept with it."""
    from lake.lake import Lake
    from tests.waiting import wait_until

    key = stack.keys["write"]
    stack.http.post("/v1/track", json={"userId": "keyless", "event": " ", "writeKey": key})
    lake = Lake(stack.stack.lake_uri)

    def kept() -> list[str]:
        texts: list[str] = lake.rejected().collect().get_column("event").drop_nulls().to_list()  # a purge takes texts
        return [event for event in texts if "keyless" in event]

    assert wait_until(kept, "the drain stores what was refused")
    assert not [event for event in kept() if key in event]
