"""`/metrics` as Prometheus reads it: who may scrape, what is counted, and that nobody is named."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.doctor import examine
from lake.lake import Lake
from serving.http.tally import SECONDS, Spread, Tally
from serving.settings import Settings
from serving.store.store import Store
from tests.running import RunningStack
from tests.serving.local_api import NOWHERE, answers, get

pytestmark = pytest.mark.xdist_group("stack")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Samples:
    """Every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(stack: RunningStack) -> Samples:
    """The stack's samples as of now."""
    answer = stack.call("GET", "/metrics")
    assert answer.status_code == 200, answer.text
    return parsed(answer.text)


def sample(samples: Samples, name: str, **labels: str) -> float:
    """One sample; a counter that nothing was counted in is 0."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def test_only_an_admin_scrapes(stack: RunningStack) -> None:
    """No key is 401, a read or a write key 403."""
    assert stack.call("GET", "/metrics", None).status_code == 401
    assert stack.call("GET", "/metrics", "read").status_code == 403
    assert stack.call("GET", "/metrics", "write").status_code == 403


def test_every_name_is_ours_and_explained(stack: RunningStack) -> None:
    """Each family begins with tinycdp_ and has a HELP text."""
    families = list(text_string_to_metric_families(stack.call("GET", "/metrics").text))

    assert len(families) > 30
    assert [family.name for family in families if not family.name.startswith("tinycdp_")] == []
    assert [family.name for family in families if not family.documentation] == []


def test_requests_events_and_decisions_are_counted(stack: RunningStack) -> None:
    """Each counter grows by what was sent, by path template, method, status and reason."""
    stack.define("flag", "counted", "true")
    before = scraped(stack)
    for message_id in ("m-1", "m-1", "m-2"):
        stack.track("counted", "counted", messageId=message_id)
    assert stack.call("POST", "/v1/track", "write", json={"userId": "counted", "event": " "}).status_code == 400
    stack.decide("counted", "counted")
    stack.traits("counted")
    after = scraped(stack)

    def grown(name: str, **labels: str) -> float:
        return sample(after, name, **labels) - sample(before, name, **labels)

    assert grown("tinycdp_events_accepted_total") == 2
    assert grown("tinycdp_events_duplicate_total") == 1
    assert grown("tinycdp_events_rejected_total") == 1
    assert grown("tinycdp_decisions_total", reason="STATIC") == 1
    assert grown("tinycdp_requests_total", method="POST", path="/v1/track", status="200") == 3
    assert grown("tinycdp_requests_total", method="POST", path="/v1/track", status="400") == 1
    assert grown("tinycdp_request_seconds_count", method="POST", path="/v1/track") == 4
    assert grown("tinycdp_requests_total", method="GET", path="/v1/users/{user}/traits", status="200") == 1
    assert grown("tinycdp_read_tail_entries_count") == 1


def test_a_browsers_decision_is_counted_too(stack: RunningStack) -> None:
    """A request with an Origin goes another way, and is counted once."""
    before = scraped(stack)
    stack.call("GET", "/v1/decide", "read", params={"userId": "b", "flag": "none"}, headers={"Origin": "https://a.b"})
    after = scraped(stack)

    labels = {"method": "GET", "path": "/v1/decide", "status": "404"}
    assert sample(after, "tinycdp_requests_total", **labels) - sample(before, "tinycdp_requests_total", **labels) == 1


def test_the_state_of_the_system_is_there(stack: RunningStack) -> None:
    """There are gauges of each shard's lag, Redis' memory, the parts, the last rebuild and the horizon left."""
    stack.define("trait", "gauged", "events.gauged.count")
    stack.json("rebuild")
    samples = scraped(stack)

    assert [sample(samples, f"tinycdp_{part}_up") for part in ("redis", "lake")] == [1, 1]
    assert {sample(samples, "tinycdp_part_up", part=part) for part in ("drain", "worker")} == {1}
    assert ("tinycdp_lake_lag_seq", frozenset({("shard", "15")})) in samples
    assert sample(samples, "tinycdp_redis_memory_bytes") > 100_000
    assert sample(samples, "tinycdp_clock_ahead_seconds") == 0
    age_s, left_s = (
        sample(samples, "tinycdp_last_full_rebuild_age_seconds"),
        sample(samples, "tinycdp_horizon_left_seconds"),
    )
    assert 0 < age_s < 120
    assert math.isclose(age_s + left_s, stack.settings.horizon_ms / 1000)
    assert sample(samples, "tinycdp_definitions", kind="trait") >= 1


@pytest.mark.deep
def test_what_doctor_compared_is_a_gauge(stack: RunningStack) -> None:
    """There are gauges of doctor's last comparison: how many answers it compared, and how many differed."""
    settings = stack.settings.model_copy(update={"redis_url": stack.stack.redis_url})
    with Store(stack.stack.redis_url) as store:
        report = examine(store, Lake(stack.stack.lake_uri), settings, 20)

    samples = scraped(stack)

    assert sample(samples, "tinycdp_parity_compared") == report["parity"]["compared"]
    assert ("tinycdp_parity_mismatches", frozenset()) in samples


def test_nobody_is_named(stack: RunningStack) -> None:
    """Ids, names of events and paths that callers make up are in no label; unknown paths share one."""
    stack.track("secretid", "secretevent", properties={"secretproperty": "secretvalue"})
    stack.call("GET", "/v1/users/secretid/traits")
    stack.call("GET", "/secretpath?apiKey=secretkey")
    stack.call("SECRETVERB", "/v1/decide")

    text = stack.call("GET", "/metrics").text.lower()

    assert "secret" not in text
    assert 'path="unmatched"' in text
    assert [key for key in stack.keys.values() if key.lower() in text] == []


def test_while_redis_is_away_the_rest_is_told(tmp_path: Path) -> None:
    """Counters stay, `tinycdp_redis_up` is 0, and gauges of Redis are absent instead of wrong."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE, metrics_open=True)

    _, answer = answers(settings, [get("/decide/health"), get("/metrics")])
    samples = parsed(answer.text)

    assert (answer.status_code, sample(samples, "tinycdp_redis_up")) == (200, 0)
    assert sample(samples, "tinycdp_requests_total", method="GET", path="/decide/health", status="503") == 1
    assert "tinycdp_lake_lag_seq" not in answer.text


def test_open_metrics_are_for_this_machine_alone(tmp_path: Path) -> None:
    """With the setting a caller on loopback needs no key; a caller from elsewhere, or behind a proxy, does."""
    settings = Settings(home=tmp_path, redis_url=NOWHERE, metrics_open=True)

    here, proxied = answers(settings, [get("/metrics"), get("/metrics", X_Forwarded_For="203.0.113.9")])
    (elsewhere,) = answers(settings, [get("/metrics")], client="203.0.113.9")

    assert [answer.status_code for answer in (here, proxied, elsewhere)] == [200, 401, 401]


def test_a_number_on_a_bound_is_within_it() -> None:
    """A bucket holds values up to and with its bound; values beyond all bounds are in the last bucket."""
    spread = Spread(SECONDS)
    for number in (SECONDS[0], SECONDS[0] + 1e-9, SECONDS[-1] + 1):
        spread.note(number)

    assert (spread.counts[0], spread.counts[1], spread.counts[-1]) == (1, 1, 1)


def test_made_up_methods_are_one_series() -> None:
    """All methods that callers invent are counted as one, so that the memory for counts does not grow."""
    tally = Tally()
    for number in range(100):
        tally.answered(f"VERB{number}", "unmatched", 404, 0.001)

    assert list(tally.requests) == [("OTHER", "unmatched")]
    assert tally.requests["OTHER", "unmatched"].statuses == {404: 100}
