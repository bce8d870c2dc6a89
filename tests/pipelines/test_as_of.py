"""As of a time: a rebuild, `tinycdp users --at` and the SQL see the same people and the same answers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.users import users_having
from expressions.rules.windows import DAY_MS
from expressions.sql.to_sql import to_sql
from lake.schemas import MEMBERSHIPS
from pipelines.rebuild import rebuild_at
from serving.ids import named_as
from serving.people.deletion import delete_person
from serving.people.links import unlink_id
from serving.refusals import Invalid
from serving.times import rfc3339
from tests.chance import part_of_examples
from tests.pipelines.world import World, empty_world

SEGMENTS = {
    "idle": "events.visit.count == 0",
    "busy": "events.visit.count_30d >= 2",
    "in_oslo": 'profile.city == "Oslo"',
}


def new_world(url: str, folder: Path) -> World:
    """An empty system that knows the definitions of this page."""
    return empty_world(url, folder, "segment", SEGMENTS)


numbers = itertools.count()


def call(kind: str, at_ms: int, **ids: str | None) -> dict[str, Any]:
    """A visit, or an identify from Oslo, at a time, by these ids."""
    named = {name: id for name, id in ids.items() if id is not None}
    body = {"event": "visit"} if kind == "track" else {"traits": {"city": "Oslo"}}
    return {"type": kind, "messageId": f"m{next(numbers)}", "timestamp": at_ms, **body, **named}


def members_by_rebuild(world: World, at_ms: int) -> dict[str, list[str]]:
    """Segment -> its members, from the rows of a rebuild as of a time."""
    run = rebuild_at(world.store, world.lake, at_ms)
    rows = world.lake.scan(MEMBERSHIPS).filter(pl.col("build") == run.build).select("key", "id").collect()
    return {key: sorted(map(named_as, rows.filter(pl.col("key") == key)["id"])) for key in SEGMENTS}


def members_by_command(world: World, at_ms: int) -> dict[str, list[str]]:
    """The same by `tinycdp users --at`."""
    return {key: sorted(users_having(world.store, world.lake, key, at_ms)) for key in SEGMENTS}


def members_by_sql(world: World, at_ms: int) -> dict[str, list[str]]:
    """The same by the SQL."""
    connection = duckdb.connect()
    connection.register("events", world.lake.events().collect().to_arrow())
    members = {}
    for key in SEGMENTS:
        rows = connection.execute(to_sql(world.catalogue.bounds["segment", key], "duckdb", at_ms)).fetchall()
        members[key] = sorted(named_as(id) for id, holds, _ in rows if holds)
    return members


def test_a_person_of_today_is_in_the_answers_of_then(url: str, tmp_path: Path) -> None:
    """As of a time before a login, the device's visits are the user's, since links count whenever they came. A person
    who had done nothing yet is in the segment of those who did nothing."""
    world = new_world(url, tmp_path)
    then_ms = world.store.now_ms() - 10 * DAY_MS
    world.ingest([call("track", then_ms - number, anonymousId="device") for number in range(2)])
    world.ingest([call("identify", then_ms + DAY_MS, anonymousId="device", userId="ann")])
    world.ingest([call("track", then_ms + 1, userId="new")])
    world.drain().step()

    members = {"idle": ["new"], "busy": ["ann"], "in_oslo": []}
    assert members_by_rebuild(world, then_ms) == members
    assert members_by_command(world, then_ms) == members
    assert members_by_sql(world, then_ms) == members


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["track", "track", "track", "identify", "alias", "unlink", "delete"]),
        st.sampled_from(["ann", "bob", None]),
        st.sampled_from(["d1", "d2", None]),
        st.integers(0, 40),
    ),
    min_size=3,
    max_size=12,
)


@pytest.mark.deep
@part_of_examples(8)
@given(acts=ACTS, days=st.lists(st.integers(0, 40), min_size=2, max_size=2))
def test_a_rebuild_the_command_and_the_sql_agree_as_of_any_time(
    url: str,
    tmp_path_factory: pytest.TempPathFactory,
    acts: list[tuple[str, str | None, str | None, int]],
    days: list[int],
) -> None:
    """Whatever was linked, unlinked and deleted, and whenever: it counts for every time that is asked about."""
    world = new_world(url, tmp_path_factory.mktemp("world"))
    now_ms = world.store.now_ms()
    for act, user, device, age in acts:
        match act:
            case "unlink" if device:
                world.store.follow(unlink_id(world.store.operations, f"anon:{device}", f"u{next(numbers)}"))
            case "delete" if user:
                world.store.follow(delete_person(world.store.operations, f"user:{user}", f"x{next(numbers)}"))
            case "alias" if user:
                other = "user:bob" if user == "ann" else "user:ann"
                ids = {"previousId": other, "userId": user}
                world.ingest([{"type": "alias", "messageId": f"a{next(numbers)}", **ids}])
            case "track" | "identify" if user or device:
                world.ingest([call(act, now_ms - age * DAY_MS, userId=user, anonymousId=device)])
    while world.drain().step().rows:
        pass
    for age in days:
        at_ms = now_ms - age * DAY_MS
        members = members_by_command(world, at_ms)
        assert members_by_rebuild(world, at_ms) == members
        assert members_by_sql(world, at_ms) == members


def test_a_time_that_is_to_come_is_refused(redis_url: str, tmp_path: Path) -> None:
    """Nothing is written as of a time of which events may still come: the refusal names it and the remedy."""
    world = new_world(redis_url, tmp_path)
    at_ms = world.store.now_ms() + 3_600_000

    with pytest.raises(Invalid, match="send a time that has passed") as refused:
        rebuild_at(world.store, world.lake, at_ms)

    assert refused.value.details is not None
    assert (refused.value.details["field"], refused.value.details["value"]) == ("at", repr(rfc3339(at_ms)))
