"""An event that is bad in any way is refused alone: the good events of its batch are taken."""

from __future__ import annotations

import json
from random import Random

import pytest

from tests.running import RunningStack

pytestmark = pytest.mark.xdist_group("stack")

#: Events that cannot be taken, as clients or bugs write them, each with what its refusal says.
BAD: dict[str, tuple[bytes, str]] = {
    "half an emoji": (b'{"type":"track","userId":"u","event":"x","properties":{"t":"\\ud83d"}}', "properties.t"),
    "half an emoji in a name": (b'{"type":"track","userId":"u","event":"x","properties":{"\\ud83d":1}}', "Unicode"),
    "half an emoji in an id": (b'{"type":"track","userId":"\\udc00","event":"x"}', "userId"),
    "NaN": (b'{"type":"track","userId":"u","event":"x","properties":{"n":NaN}}', "properties.n"),
    "Infinity": (b'{"type":"track","userId":"u","event":"x","properties":{"a":[1,{"n":-Infinity}]}}', "a.1.n"),
    "beyond floats": (b'{"type":"track","userId":"u","event":"x","properties":{"n":1e999}}', "properties.n"),
    "endless digits": (b'{"type":"track","userId":"u","event":"x","properties":{"n":' + b"9" * 5_000 + b"}}", "n"),
    "no UTF-8": (b'{"type":"track","userId":"u","event":"x","properties":{"t":"caf\xe9"}}', "properties.t"),
    "a raw line feed": (b'{"type":"track","userId":"u","event":"x\n"}', "JSON"),
    "an unknown escape": (b'{"type":"track","userId":"u","event":"\\q"}', "JSON"),
    "a lone word": (b"undefined", "JSON"),
    "single quotes": (b"{'type':'track'}", "JSON"),
    "a comment": (b'{"type":"track" /* , or not */ }', "JSON"),
    "nothing between commas": (b"", "decode"),
    "two thousand levels": (b"[" * 2_000 + b"]" * 2_000, "nested"),
    "no object": (b"5", "JSON object"),
}
#: Refused by the fast decoder or not, these are good.
ODD_BUT_GOOD = (
    b'{"type":"track","userId":"u","event":"odd","properties":{"t":"\\ud83d\\ude00"}}',
    b'{"type":"track","userId":"u","event":"odd","properties":{"t":"],}{[\\"","t":"\\u0000"}}',
    b'\n\t{ "type" : "track","userId":"u", "event":"odd" }\r\n',
)


def good(number: int) -> bytes:
    return json.dumps({"type": "track", "userId": f"neighbour-{number}", "event": "good"}).encode()


@pytest.mark.parametrize("place", ["header", "body"])
def test_bad_events_cost_their_neighbours_nothing(stack: RunningStack, place: str) -> None:
    """Batches of good and bad events in any order: the good are accepted, each bad one is refused by its index."""
    random = Random(18)
    key = stack.keys["write"]
    for _ in range(12):
        names: list[str] = random.choices([*BAD, "good", "odd"], k=12)
        events = [
            good(at) if name == "good" else random.choice(ODD_BUT_GOOD) if name == "odd" else BAD[name][0]
            for at, name in enumerate(names)
        ]
        written = b',"writeKey":"' + key.encode() + b'"' if place == "body" else b""
        headers = {"Authorization": f"Bearer {key}"} if place == "header" else {}
        body = b'{"batch":[' + b",".join(events) + b"]" + written + b"}"

        answer = stack.http.post("/v1/batch", content=body, headers=headers)

        assert answer.status_code == 200, (names, answer.text)
        refused = {refusal["index"]: refusal["message"] for refusal in answer.json()["rejected"]}
        assert sorted(refused) == [at for at, name in enumerate(names) if name in BAD], names
        assert answer.json()["accepted"] == len(events) - len(refused)
        for at, message in refused.items():
            assert BAD[names[at]][1] in message, names[at]


@pytest.mark.parametrize(
    ("beside", "field"),
    [
        (b'"context":{"n":NaN}', "context.n"),
        (b'"context":{"page":{"title":"\\ud83d"}}', "context.page.title"),
        (b'"context":{"\\ud83d":1}', "context"),
        (b'"context":[1]', "context"),
        (b'"context":{"t":"caf\xe9"}', "context.t"),
        (b'"sentAt":NaN', "sentAt"),
        (b'"sentAt":"yesterday"', "sentAt"),
        (b'"sentAt":1700000000', "sentAt"),
        (b'"writeKey":"\\ud83d"', "writeKey"),
    ],
)
def test_what_is_bad_beside_the_events_costs_none(stack: RunningStack, beside: bytes, field: str) -> None:
    """A bad field of the batch itself is left out, with a warning that names it, and the good events are taken."""
    for events, accepted in ([good(1)], 1), ([good(1), BAD["NaN"][0]], 1):
        body = b'{"batch":[' + b",".join(events) + b'],"extra":[Infinity],' + beside + b"}"

        answer = stack.call("POST", "/v1/batch", "write", content=body)

        assert (answer.status_code, answer.json()["accepted"]) == (200, accepted), answer.text
        (warning,) = answer.json()["warnings"]
        assert warning.startswith(f"{field}: "), warning


def test_an_event_alone_is_refused_by_the_place_of_what_it_may_not_hold(stack: RunningStack) -> None:
    """What Python writes for a number that is none is S5's refusal, not that of a body that cannot be read."""
    answer = stack.call("POST", "/v1/track", "write", content=BAD["NaN"][0])

    assert (answer.status_code, answer.json()["details"]["field"]) == (400, "properties.n")


def test_a_body_whose_events_cannot_be_told_apart_is_refused_whole(stack: RunningStack) -> None:
    """Brackets that do not match leave nobody to say where an event ends; and strangers have nothing taken apart."""
    unclosed = b'{"batch":[' + good(1) + b',{"type":"track"]}'
    half = b'{"batch":[{"t":"\\ud83d"}]}'

    assert stack.call("POST", "/v1/batch", "write", content=unclosed).status_code == 400
    assert stack.http.post("/v1/batch", content=half).status_code == 401
    assert stack.http.post("/v1/batch", content=half, headers={"Authorization": "Bearer unknown"}).status_code == 401
