"""Whoever sends a whole number that no float holds is told so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from serving.ingest.accept import Limits, accept
from serving.ingest.inexact import FIELDS_MAX, inexact_warnings
from serving.settings import Settings
from tests.pipelines.world import World
from tests.serving.local_api import answers


def warnings(*properties: dict[str, Any]) -> list[str]:
    """The warnings of events with these properties."""
    raw = {"type": "track", "userId": "ada", "event": "purchase"}
    return inexact_warnings(accept({**raw, "properties": each}, Limits()) for each in properties)


@pytest.mark.parametrize("number", [2**53, -(2**53), 2**53 + 1, 10**300])
def test_a_whole_number_with_gaps_is_named(number: int) -> None:
    """The field is named, inside objects and lists too, once for all events of an answer."""
    assert [text.partition(":")[0] for text in warnings({"order": number}, {"order": number + 1})] == [
        "properties.order"
    ]
    nested = {"items": [{"id": number}], "a": {"b": [1, number]}}
    assert [text.partition(":")[0] for text in warnings(nested)] == ["properties.items.id", "properties.a.b"]
    assert len(warnings({f"n{at}": number for at in range(FIELDS_MAX + 5)})) == FIELDS_MAX


def test_what_is_exact_is_not_warned_of() -> None:
    """A number below, a text, a boolean and a number with a fraction are as they were sent."""
    assert (
        warnings({"a": 2**53 - 1, "b": str(2**60), "c": True, "d": 1e300, "e": None, "f": [1, "x", {"g": 1.5}]}) == []
    )


def test_the_answers_of_the_api_have_the_warning(redis_url: str, tmp_path: Path) -> None:
    """One event, an identify and a batch, in which the events are taken all the same."""
    World(redis_url, tmp_path, shards=16).recover()
    settings = Settings(
        home=tmp_path, redis_url=redis_url, lake_uri=str(tmp_path / "lake"), write_key=SecretStr("write")
    )
    track = {"userId": "ada", "event": "purchase", "properties": {"order": 2**60}}
    bodies = {
        "/v1/track": track,
        "/v1/identify": {"userId": "ada", "traits": {"account": 2**60}},
        "/v1/batch": {"batch": [track | {"type": "track"}, track | {"type": "track", "properties": {"order": 1}}]},
    }
    requests = [
        httpx.Request("POST", f"http://api{path}", json=body, headers={"Authorization": "Bearer write"})
        for path, body in bodies.items()
    ]
    one, identified, batch = (answer.json() for answer in answers(settings, iter(requests)))  # type: ignore[arg-type]
    assert ["send it as a string" in body["warnings"][0] for body in (one, identified, batch)] == [True] * 3
    assert (batch["accepted"], len(batch["warnings"])) == (2, 1)
