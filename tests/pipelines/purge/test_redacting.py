"""Other mentions of somebody who is gone: flags that name them, and values in other people's events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import redis

from expressions.definitions import Definition
from lake.schemas import EVENTS
from pipelines.rebuild import rebuild_at
from serving.definitions import saving
from serving.definitions.flags import settings_after
from serving.history import History
from tests.pipelines.purge.test_purge import ANN, DEVICE, IDS, drained, erased, search
from tests.pipelines.test_deletes import delete
from tests.pipelines.test_links import check, new_world, visit
from tests.pipelines.world import World

#: Bob's event names ann in every way that there is.
NAMING = {
    "friend": IDS["userId"],
    "note": f"with {IDS['userId']}, twice: {IDS['userId']}!",
    "link": "https://example.org/?to=user%3Aann-of-the-green-gables",
    "all": [IDS["userId"], {"deep": ["user:ann-of-the-green-gables"]}],
    "scores": {IDS["userId"]: 3},
    "amount": 5,
}
REDACTED = {
    "friend": "[deleted]",
    "note": "with [deleted], twice: [deleted]!",
    "link": "https://example.org/?to=[deleted]",
    "all": ["[deleted]", {"deep": ["[deleted]"]}],
    "scores": {"[deleted]": 3},
    "amount": 5,
}


@pytest.fixture
def world(url: str, tmp_path: Path) -> World:
    """A world with ann, and with bob whose events name her in every way that there is."""
    world = new_world(url, tmp_path)
    world.define("trait", {"friends": "events.visit.friend.values", "partner": "profile.partner"})
    world.define("trait", {"paid": "events.visit.amount.sum"})
    world.define("segment", {"lonely": "friends == []"})
    world.ingest([visit(1, **IDS), visit(2, userId="bob") | {"properties": NAMING | {"page": 2}, "messageId": "said"}])
    partner = {"type": "identify", "userId": "bob", "messageId": "p", "traits": {"partner": IDS["userId"]}}
    world.ingest([partner, visit(3, userId="bob") | {"context": {"page": {"url": f"/u/{IDS['userId']}"}}}])
    drained(world)
    world.rebuild()
    rebuild_at(world.store, world.lake, world.store.now_ms())
    return world


def named_in(world: World, key: str, users: dict[str, Any]) -> None:
    """Saves a flag that names users."""
    saving.save(
        world.store,
        world.lake.holds_events,
        Definition("flag", key, "true"),
        0,
        settings=lambda settings: settings_after(key, settings, {"users": users}),
    )
    world.write_down()


def flag_users(world: World, key: str) -> dict[str, Any]:
    """The named users of a flag that is in force."""
    users: dict[str, Any] = world.catalogue.definitions["flag", key].settings.get("users", {})
    return users


def test_flags_forget_whom_they_named(world: World) -> None:
    """A flag forgets the gone in force, in every version before, and in Redis. It stays as it was for everybody
    else."""
    named_in(world, "beta", {IDS["userId"]: True, "bob": False})
    named_in(world, "beta", {f"anon:{IDS['anonymousId']}": True, "user:bob": True, IDS["userId"]: False})
    named_in(world, "other", {"bob": True})
    before = world.catalogue.definitions
    delete(world, ANN)
    did = erased(world, redacts=())

    assert did.flags == 1
    assert flag_users(world, "beta") == {"user:bob": True}
    after = world.catalogue.definitions
    assert after["flag", "beta"].version > before["flag", "beta"].version
    assert after["flag", "other"] == before["flag", "other"]
    versions = History(world.lake.root).definition_versions("flag", "beta")
    assert [stored.settings["users"] for stored in versions] == [{"user:bob": True}, {"user:bob": True}, {"bob": False}]
    (note,) = world.lake.audit().filter(pl.col("author") == "purge").collect().to_dicts()
    assert (note["action"], note["kind"], note["key"]) == ("update", "flag", "beta")
    assert search(world, ANN, DEVICE).found == []
    assert erased(world).flags == 0


def test_values_of_others_stay_unless_their_redaction_is_asked_for(world: World) -> None:
    """The values are bob's and only read like her id, so a plain purge leaves them; the search says where they are."""
    before = world.values("bob")
    delete(world, ANN)
    erased(world)

    assert world.values("bob") == before
    assert any("column properties" in where for where in search(world, ANN).found)


def test_a_redacted_value_is_gone_from_every_store_and_counts_alike_everywhere(world: World) -> None:
    """A redacted value goes from rows, traits, bases and streams. Live, the batch, SQL and a Redis made anew from the
    lake agree."""
    assert world.values("bob")["friends"] == (IDS["userId"],)
    delete(world, ANN)
    assert erased(world, redacts=()).redacted >= 3

    assert search(world, ANN, DEVICE).found == []
    bob = world.values("bob")
    assert (bob["friends"], bob["partner"]) == (("[deleted]",), "[deleted]")
    assert (bob["visits"], bob["paid"], bob["pages"]) == (2, 5, (2, 3))
    check(world, [ANN, DEVICE, "user:bob"])
    rows = {row["event_id"]: row for row in world.lake.scan(EVENTS).collect().to_dicts()}
    assert json.loads(rows["said"]["properties"]) == REDACTED | {"page": 2}
    assert dict(rows["said"]["props"])["note"]["string"] == REDACTED["note"]
    with redis.Redis.from_url(world.settings.redis_url or "") as client:
        client.flushall()
    assert world.recover()
    assert world.values("bob") == bob
    check(world, [ANN, DEVICE, "user:bob"])
    repeat = visit(2, userId="bob") | {"properties": NAMING, "messageId": "said"}
    assert world.ingest([repeat]).outcomes[0].duplicate
    assert search(world, ANN, DEVICE).found == []


@pytest.mark.deep
def test_who_was_purged_before_is_redacted_by_name_and_nobody_else(world: World) -> None:
    """`redacts` names somebody who was purged before. A name of somebody who was not deleted redacts nothing."""
    world.ingest([visit(5, userId="cy-of-the-black-gables")])
    world.ingest([visit(6, userId="bob") | {"properties": {"friend": "cy-of-the-black-gables"}}])
    delete(world, ANN)
    erased(world)
    assert erased(world, redacts=["user:cy-of-the-black-gables"]).redacted == 0
    assert world.values("bob")["friends"] == (IDS["userId"], "cy-of-the-black-gables")
    assert erased(world, redacts=[ANN]).redacted > 0
    assert world.values("bob")["friends"] == ("[deleted]", "cy-of-the-black-gables")
    assert search(world, ANN).found == []


@pytest.mark.deep(kept=1)
@pytest.mark.parametrize("step", ["flags", "redacted", "rebuilt", "events"])
def test_a_redaction_that_is_cut_off_is_run_again(world: World, step: str) -> None:
    """A redaction may be cut off at any step: the next one completes it, and events that came meanwhile count once."""
    named_in(world, "beta", {IDS["userId"]: True, "bob": False})
    delete(world, ANN)

    def cut(reached: str) -> None:
        if reached == step:
            world.ingest([visit(20, userId="bob")])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        erased(world, redacts=(), on_step=cut)
    erased(world, redacts=())
    assert search(world, ANN, DEVICE).found == []
    assert flag_users(world, "beta") == {"bob": False}
    bob = world.values("bob")
    assert (bob["friends"], bob["visits"], bob["pages"]) == (("[deleted]",), 3, (2, 3, 20))
    saving.delete(world.store, world.lake.holds_events, "flag", "beta", 0)
    check(world, [ANN, DEVICE, "user:bob"])
