"""S6 holds from the moment that a sum is saved, in processes too that were not told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from serving.settings import Settings
from tests.pipelines.world import World, purchase
from tests.serving.local_api import answers

TOO_MUCH = 10**13


def post(path: str, body: Any) -> httpx.Request:
    """A request of an app."""
    return httpx.Request("POST", f"http://api{path}", json=body, headers={"Authorization": "Bearer write"})


@pytest.mark.parametrize(("known", "is_kept"), [("amount.first", False), ("count", False), ("amount.max_30d", True)])
def test_a_sum_that_another_process_defined_bounds_its_property_at_once(
    redis_url: str, tmp_path: Path, known: str, is_kept: bool
) -> None:
    """A process with older definitions loads the newer ones and checks its events again, whether or not records keep
    already all that the sum reads. Of a batch the rest stands."""
    world = World(redis_url, tmp_path, shards=16)
    world.recover()
    world.define("trait", {"known": f"events.purchase.{known}"})
    projection = world.catalogue.projection_version
    settings = Settings(
        home=tmp_path, redis_url=redis_url, lake_uri=str(tmp_path / "lake"), write_key=SecretStr("write")
    )

    def event(number: int, amount: int) -> dict[str, Any]:
        return purchase("ada", number, properties={"amount": amount})

    def requests() -> Iterator[httpx.Request]:
        yield post("/v1/track", event(1, TOO_MUCH))  # nothing sums it yet
        world.define("trait", {"spent": "events.purchase.amount.sum_30d" if is_kept else "events.purchase.amount.sum"})
        assert (world.catalogue.projection_version == projection) == is_kept
        yield post("/v1/track", event(2, TOO_MUCH))
        world.define("trait", {"tax": "events.purchase.tax.sum"})
        batch = [event(3, 1), event(4, 2) | {"properties": {"amount": 2, "tax": -TOO_MUCH}}, event(5, 4)]
        yield post("/v1/batch", {"batch": [{**each, "type": "track"} for each in batch]})

    taken, refused, batch = answers(settings, requests())  # type: ignore[arg-type]

    assert (taken.status_code, refused.status_code, batch.status_code) == (200, 400, 200)
    details = refused.json()["details"]
    assert (details["field"], details["value"]) == ("properties.amount", str(TOO_MUCH))
    body = batch.json()
    assert (body["accepted"], body["duplicates"]) == (2, 0)
    assert [rejected["index"] for rejected in body["rejected"]] == [1]
    assert (world.values("ada")["spent"], len(world.store.read_rejected(10))) == (5, 2)
