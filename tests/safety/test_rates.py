"""How much a key may ask for: by the arithmetic of one bucket, and over HTTP."""

from __future__ import annotations

import os
import tempfile

import httpx
import pytest

from serving.access import shared_buckets
from serving.access.keys import Keys
from serving.access.rates import BURST_S, Rates
from serving.refusals import TooMany
from tests.running import RunningStack
from tests.safety.conftest import RATE

pytestmark = pytest.mark.xdist_group("stack")


class Clock:
    """A clock of seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def refusal(rates: Rates, key: str = "key") -> TooMany | None:
    """The refusal of one more request; None where it is let in."""
    try:
        rates.take(key)
    except TooMany as error:
        return error
    return None


def test_a_key_has_its_rate_and_a_burst() -> None:
    """A key may ask at once for what flows in within two seconds, and then for as much as flows in."""
    clock = Clock()
    rates = Rates(10, clock)

    assert [refusal(rates) is None for _ in range(21)] == [True] * int(10 * BURST_S) + [False]
    assert refusal(rates, "another") is None, "a bucket each"
    clock.now += 0.1
    assert [refusal(rates) is None for _ in range(2)] == [True, False]
    clock.now += 1_000
    assert [refusal(rates) is None for _ in range(21)] == [True] * 20 + [False], "no bucket holds more"


def test_a_batch_may_go_into_debt_and_is_paid_back() -> None:
    """A batch that is let in takes a token for each event, and the next request waits until those have flowed in."""
    clock = Clock()
    rates = Rates(100, clock)
    rates.take("key")
    rates.owe("key", 2_499)

    refused = refusal(rates)
    assert refused is not None
    assert refused.retry_after_s == 24
    clock.now += 24
    assert refusal(rates) is None


def test_an_empty_batch_costs_a_token() -> None:
    """Nothing is given back: else anybody could send as many empty batches as they like."""
    rates = Rates(1, Clock())
    for _ in range(2):
        rates.take("key")
        rates.owe("key", -1)

    assert refusal(rates) is not None


@pytest.mark.parametrize(("per_second", "owed", "wait_s"), [(1_000, 2_000, 1), (0.001, 1, 300), (1, 10_000, 300)])
def test_nobody_is_told_to_wait_for_less_than_a_second_or_more_than_five_minutes(
    per_second: float, owed: int, wait_s: int
) -> None:
    """Retry-After is a whole number from 1 to 300, since clients take no other."""
    rates = Rates(per_second, Clock())
    rates.take("key")
    rates.owe("key", owed)

    refused = refusal(rates)
    assert refused is not None
    assert refused.retry_after_s == wait_s


def test_processes_of_one_address_count_a_key_together() -> None:
    """What one takes the others lack, and one that is started anew finds the debts. Keys have a bucket each."""
    clock = Clock()
    with tempfile.TemporaryFile() as file:
        one, other = (Rates(10, clock, shared=file.fileno()) for _ in range(2))

        assert [refusal(rates) is None for _ in range(10) for rates in (one, other)] == [True] * int(10 * BURST_S)
        assert (refusal(one) is None, refusal(other) is None) == (False, False)
        assert refusal(other, "another") is None
        clock.now += 0.1
        assert (refusal(other) is None, refusal(one) is None) == (True, False)
        clock.now += 0.1
        one.take("key")
        one.owe("key", 100)
        refused = refusal(Rates(10, clock, shared=file.fileno()))
        assert refused is not None
        assert refused.retry_after_s == 11


def test_the_place_of_a_full_bucket_is_another_key_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """More keys than there are places, one after the other, each have their bucket; a debt is forgotten by nobody."""
    monkeypatch.setattr(shared_buckets, "PLACES", 8)
    clock = Clock()
    with tempfile.TemporaryFile() as file:
        one, other = (Rates(1, clock, shared=file.fileno()) for _ in range(2))
        one.take("in debt")
        one.owe("in debt", 1_000)
        for key in range(40):
            one.take(f"{key}", 3)
            assert refusal(other, f"{key}") is not None
            clock.now += 1
        one.keep([])

        assert refusal(other, "in debt") is not None
        assert refusal(one, "in debt") is not None
        assert os.fstat(file.fileno()).st_size <= 8 * 32


def test_only_known_keys_are_counted() -> None:
    """Keys that nobody made leave nothing behind, and a key that was revoked is forgotten."""
    keys = Keys({}, per_second=10)
    for number in range(100):
        assert keys.caller(f"guess-{number}") is None
    assert keys.rates._buckets == {}

    keys.rates.take("revoked")
    keys.know({})
    assert keys.rates._buckets == {}


def test_too_many_requests_are_answered_429(stack: RunningStack, narrow: str) -> None:
    """A key beyond its rate gets 429 in our words, with whole seconds to wait, on every path; other keys do not.

    D-29.
    """
    write = {"Authorization": f"Bearer {stack.keys['write']}"}
    event = {"type": "track", "userId": "rate", "event": "rate"}
    with httpx.Client(base_url=narrow, headers=write) as http:
        assert http.post("/v1/batch", json={"batch": [event] * (10 * RATE)}).status_code == 200
        answers = [
            http.post("/v1/track", json=event),
            http.post("/v1/batch", json={"batch": [event]}),
            http.post("/v1/track", json=event, headers={"Origin": "https://shop.example"}),
        ]
        for answer in answers:
            assert answer.status_code == 429
            assert answer.json()["code"] == "resource_exhausted"
            assert 1 <= int(answer.headers["retry-after"]) <= 300
            assert answer.headers["x-ratelimit-reset"] == answer.headers["retry-after"]
        assert answers[2].headers["access-control-allow-origin"] == "https://shop.example"
        read = {"Authorization": f"Bearer {stack.keys['read']}"}
        assert http.post("/ofrep/v1/evaluate/flags", json={}, headers=read).status_code == 200


def test_openfeature_is_told_in_its_own_words(stack: RunningStack, narrow: str) -> None:
    """OFREP answers 429 in its own words and with Retry-After, which providers read."""
    headers = {"Authorization": f"Bearer {stack.keys['read']}"}
    with httpx.Client(base_url=narrow, headers=headers) as http:
        for _ in range(20 * RATE):
            answer = http.post("/ofrep/v1/evaluate/flags", json={})
            if answer.status_code != 200:
                break
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["errorDetails"]


def test_without_a_rate_nobody_is_counted(stack: RunningStack) -> None:
    """By default no key has a rate, and nobody is counted."""
    assert stack.settings.rate_limit == 0
    assert {stack.call("GET", "/v1/decide", "read", params={"userId": "a"}).status_code for _ in range(300)} == {400}
