"""Links in any order, at any step: live, the lake's tables and SQL see the same people."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, values_of
from expressions.rules.identity import people, roots
from expressions.sql.to_sql import to_sql
from lake.schemas import TRAITS
from serving.history import latest_undeleted
from serving.ids import record_of
from serving.ingest.accept import Limits, accept
from serving.ingest.projection import tail_payload
from serving.people.family import DEPTH_MAX, IDS_MAX
from serving.people.links import (
    claims_of,
    claims_with_receipts,
    complete_links,
    distinct_claims,
    link_claims,
    unlink_id,
)
from serving.store.operations.events import Arrival
from serving.store.operations.links import Claim
from serving.store.scripts.claim import Owner
from tests.chance import part_of_examples
from tests.pipelines.world import World, empty_world
from tests.properties.at_once import at_once

DEFINITIONS = {"visits": "events.visit.count", "pages": "events.visit.page.values", "city": "profile.city"}


def new_world(url: str, folder: Path) -> World:
    """An empty system that knows the definitions of this page."""
    return empty_world(url, folder, "trait", DEFINITIONS)


numbers = itertools.count()


def visit(page: int, **ids: str) -> dict[str, Any]:
    """A visit of a page."""
    return {"type": "track", "event": "visit", "messageId": f"v{next(numbers)}", "properties": {"page": page}, **ids}


def lives_in(city: str, **ids: str) -> dict[str, Any]:
    """An identify with a city."""
    return {"type": "identify", "messageId": f"i{next(numbers)}", "traits": {"city": city}, **ids}


def alias(previous: str, user: str) -> dict[str, Any]:
    """An alias: the previous id belongs to the user."""
    return {"type": "alias", "messageId": f"a{next(numbers)}", "previousId": previous, "userId": user}


def in_batch(world: World) -> dict[str, dict[str, Any]]:
    """Every person's values, from the lake by frames."""
    events = people(counted(world.lake.events()))
    answers = answer_frame(events, list(world.catalogue.bounds.values()), world.store.now_ms())
    values: dict[str, dict[str, Any]] = {}
    for key in world.catalogue.bounds:
        for id, value in values_of(answers, key).items():
            values.setdefault(id, {})[key[1]] = value
    return values


def in_sql(world: World) -> dict[str, Any]:
    """Every person's number of visits, from the lake by SQL."""
    text = to_sql(world.catalogue.bounds[("trait", "visits")], "duckdb", world.store.now_ms())
    connection = duckdb.connect()
    connection.register("events", world.lake.events().collect().to_arrow())
    return {id: number for id, number, *_ in connection.execute(text).fetchall()}


def check(world: World, ids: list[str]) -> None:
    """Asserts that every id's live values are those of its person in the batch, and that SQL has the same people and
    visits."""
    while world.drain().step().rows:
        pass
    batch, sql = in_batch(world), in_sql(world)
    assert {id: values["visits"] for id, values in batch.items()} == sql
    for id in ids:
        answers = world.answers(id)
        root = next(iter(answers.asof["ids"]))
        values = {key: answer.value for (_, key), answer in answers.values.items()}
        assert values == batch.get(root, world.values("user:never-seen")), (id, root)


@pytest.mark.deep
def test_the_order_of_links_and_events_does_not_matter(url: str, tmp_path: Path) -> None:
    """Events and links of a device, an email and a chain of two known users give the same person in any order, with
    drains and rebuilds in between."""
    calls = [
        visit(1, anonymousId="d1"),
        visit(2, userId="old"),
        visit(3, userId="new"),
        visit(4, emailHash="e1"),
        lives_in("Oslo", userId="old", anonymousId="d1"),
        lives_in("Bonn", userId="new", emailHash="e1"),
        alias("user:old", "new"),
        alias("user:older", "old"),
        visit(5, userId="older"),
    ]
    ids = ["user:old", "user:older", "user:new", "anon:d1", "email:e1"]
    for call in calls:  # each keeps its own time in any order of arrival
        call["timestamp"] = f"2024-01-0{calls.index(call) + 1}T00:00:00Z"
    chance = random.Random(30)
    for number in range(6):
        world = new_world(url, tmp_path / str(number))
        for call in chance.sample(calls, len(calls)):
            world.ingest([call])
            match chance.randrange(4):
                case 0:
                    world.drain().step()
                case 1:
                    world.rebuild()
        for id in ids:
            assert world.values(id) == {"visits": 5, "pages": (1, 2, 3, 4, 5), "city": "Bonn"}, (number, id)
        check(world, ids)


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["visit", "visit", "identify", "alias", "unlink", "drain", "rebuild"]),
        st.sampled_from(["ann", "bob", None]),
        st.sampled_from(["d1", "d2", None]),
        st.sampled_from(["e1", None, None]),
    ),
    min_size=4,
    max_size=14,
)


@pytest.mark.deep
@part_of_examples(8)
@given(acts=ACTS)
def test_live_batch_and_sql_see_the_same_people(
    url: str, tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, str | None, str | None, str | None]]
) -> None:
    """However ids are linked, claimed twice, aliased and unlinked, an id belongs to its first claim since its last
    unlink, live, in the batch and in SQL."""
    world = new_world(url, tmp_path_factory.mktemp("world"))
    owner: dict[str, str] = {}
    for act, user, device, email in acts:
        ids = {"userId": user, "anonymousId": device, "emailHash": email}
        named = {name: value for name, value in ids.items() if value is not None}
        call: dict[str, Any] | None = None
        match act:
            case "drain":
                world.drain().step()
            case "rebuild":
                world.rebuild()
            case "unlink" if device:
                world.store.follow(unlink_id(world.store.operations, f"anon:{device}", f"u{next(numbers)}"))
                owner.pop(f"anon:{device}", None)
            case "alias" if user:
                call = alias("user:bob" if user == "ann" else "user:ann", user)
            case "visit" if named:
                call = visit(1, **named)
            case "identify" if named:
                call = lives_in(f"c{next(numbers)}", **named)
        if call is None:
            continue
        world.ingest([call])
        for claim in claims_of(accept(call, Limits())):
            is_ring = owner.get(claim.owner) == claim.id
            if not is_ring:
                owner.setdefault(claim.id, claim.owner)
    every = ["user:ann", "user:bob", "anon:d1", "anon:d2", "email:e1"]
    known = roots(owner)
    for id in every:
        assert next(iter(world.answers(id).asof["ids"])) == known.get(id, id)
    check(world, every)


def test_a_later_user_of_a_device_gets_only_own_events_in_the_lake_too(url: str, tmp_path: Path) -> None:
    """The first claim wins in the tables as it does live, and nothing counts twice (D-6)."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, anonymousId="d")])
    world.ingest([lives_in("Rome", userId="first", anonymousId="d")])
    world.ingest([visit(2, userId="second", anonymousId="d"), visit(3, anonymousId="d")])
    check(world, ["user:first", "user:second", "anon:d"])
    world.rebuild()

    rows = latest_undeleted(world.lake, TRAITS).filter(pl.col("key") == "visits").select("id", "number").collect()
    assert dict(rows.iter_rows()) == {"user:first": 2, "user:second": 1}


def test_two_users_cannot_be_each_other(url: str, tmp_path: Path) -> None:
    """An alias that would close a ring changes nothing, whether the ring has two members or more."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, userId="a"), visit(2, userId="b"), visit(3, userId="c")])
    for previous, user in (("user:a", "b"), ("user:b", "c"), ("user:c", "a"), ("user:b", "a")):
        world.ingest([alias(previous, user)])

    check(world, ["user:a", "user:b", "user:c"])
    assert list(world.answers("a").asof["ids"]) == ["user:c", "user:b", "user:a"]


def test_of_aliases_of_one_call_that_make_a_ring_the_last_gives_way(url: str, tmp_path: Path) -> None:
    """The aliases of a call work as if they had come one after the other. An alias to a member of the ring, in the same
    call, is not part of it."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, userId="a"), visit(2, userId="b"), visit(3, userId="c")])
    world.ingest([alias("user:a", "b"), alias("user:b", "a"), alias("user:c", "a")])

    check(world, ["user:a", "user:b", "user:c"])
    assert list(world.answers("c").asof["ids"]) == ["user:b", "user:a", "user:c"]


class Killed(Exception):
    """The process ended here."""


@pytest.mark.parametrize("at", ["before the list", "before the claim"])
def test_a_call_that_is_cut_off_before_its_link_is_completed_by_the_drain(url: str, tmp_path: Path, at: str) -> None:
    """After a call that is cut off before its link the user's own event counts at once. After the drain the device is
    theirs, and another drain changes nothing."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, anonymousId="d")])
    operations = world.store.operations
    name = "add_members" if at == "before the list" else "link"
    object.__setattr__(operations, name, _killed)
    with pytest.raises(Killed):
        world.ingest([visit(2, userId="ann", anonymousId="d")])
    object.__delattr__(operations, name)

    assert world.values("ann")["visits"] == 1
    world.drain().step()
    assert world.values("ann")["visits"] == 2
    check(world, ["user:ann", "anon:d"])
    entries = [entry for shard in range(2) for entry in world.store.read_log(shard, 0, 100)]
    before = world.store.shard_states()
    world.store.follow(complete_links(operations, entries))
    assert world.store.shard_states() == before


def _killed(*_: Any) -> None:
    raise Killed


def test_an_unlinked_device_stays_unlinked_when_old_events_are_drained(url: str, tmp_path: Path) -> None:
    """The links that the drain repeats for an event are no new claims: an unlink after that event stands."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, userId="ann", anonymousId="d")])
    world.store.follow(unlink_id(world.store.operations, "anon:d", "u"))
    check(world, ["user:ann", "anon:d"])
    assert list(world.answers("ann").asof["ids"]) == ["user:ann"]

    world.ingest([visit(2, userId="ann", anonymousId="d")])
    check(world, ["user:ann", "anon:d"])
    assert list(world.answers("anon:d").asof["ids"]) == ["user:ann", "anon:d"]


def test_ids_of_any_kind_are_named_by_their_prefix() -> None:
    """A prefix says the kind of an id. An id without one is a user's."""
    assert [record_of(text) for text in ("a", "user:a", "anon:a", "email:a", "anon:", "x:a")] == [
        "user:a",
        "user:a",
        "anon:a",
        "email:a",
        "user:anon:",
        "user:x:a",
    ]


def test_a_device_is_found_whichever_list_names_it_too(url: str, tmp_path: Path) -> None:
    """A list of members is a hint: an outdated list, of another id of the person, takes nothing away."""
    world = new_world(url, tmp_path)
    world.ingest([visit(1, userId="new", anonymousId="d"), visit(2, anonymousId="d"), alias("user:old", "new")])
    world.store.add_members([Claim("anon:d", "user:old", "before")])

    for id in ("old", "new", "anon:d"):
        assert world.values(id)["visits"] == 2


def refused(world: World, *calls: dict[str, Any]) -> list[str]:
    """Why the claims of some calls became no links, one call after the other."""
    reasons = []
    for call in calls:
        claims, owners = taken(world, call)
        reasons += [why for _, why in world.store.follow(link_claims(world.store.operations, claims, owners))]
    return reasons


def taken(world: World, call: dict[str, Any]) -> tuple[list[Claim], list[Owner | None]]:
    """The claims of a call whose event was taken, and the owners of the claimed ids."""
    event, catalogue = accept(call, Limits()), world.catalogue
    arrival = Arrival(event, tail_payload(event, catalogue.projection))
    receipts = world.store.ingest([arrival], catalogue.projection_version)
    claims = claims_with_receipts(distinct_claims([event]), [event], receipts.came_ms)
    return claims, world.store.owners([claim.id for claim in claims])


def ids_of(world: World, id: str) -> int:
    """How many ids a person has."""
    return len(world.answers(id).asof["ids"])


@pytest.mark.parametrize("is_upward", [True, False])
def test_an_id_is_at_most_so_many_links_away_from_its_person(url: str, tmp_path: Path, is_upward: bool) -> None:
    """Aliases of aliases are refused beyond it, with their own reason, whichever end they are added at; a shorter chain
    is not. A ring is called one at any length."""
    world = new_world(url, tmp_path)
    pairs = [(number, number + 1) if is_upward else (number + 1, number) for number in range(DEPTH_MAX + 1)]
    calls = [alias(f"user:u{of}", f"u{to}") for of, to in pairs]

    assert refused(world, *calls) == ["deep"]
    assert refused(world, alias(f"user:u{DEPTH_MAX}", "u0") if is_upward else alias("user:u0", f"u{DEPTH_MAX}")) == [
        "cycle"
    ]
    assert ids_of(world, "u3") == DEPTH_MAX + 1
    world.drain().step()
    assert ids_of(world, "u3") == DEPTH_MAX + 1


def test_a_person_has_at_most_so_many_ids(url: str, tmp_path: Path) -> None:
    """Beyond it a link is refused with its own reason: of one more id, of a whole person, of calls at one moment."""
    world = new_world(url, tmp_path)
    owners = [f"u{number}" for number in range(8)]
    assert refused(world, *[alias(f"user:{owner}", "root") for owner in owners]) == []
    devices = [(owner, f"{owner}-{number}") for owner in owners for number in range(11)]
    calls = [visit(1, userId=owner, anonymousId=device) for owner, device in devices]
    assert refused(world, *calls) == []
    room = IDS_MAX - ids_of(world, "root")
    assert 0 < room < len(owners)

    at_once(
        world.store,
        [
            link_claims(world.store.operations, *taken(world, visit(1, userId=owner, anonymousId=f"{owner}-last")))
            for owner in owners
        ],
        range(len(owners)),
    )
    assert ids_of(world, "root") <= IDS_MAX
    while ids_of(world, "root") < IDS_MAX:
        assert refused(world, visit(1, userId="u0", anonymousId=f"d{next(numbers)}")) == []
    assert refused(world, visit(1, userId="u1", anonymousId="one-more"), alias("user:other", "root")) == ["crowded"] * 2
    assert refused(world, alias("user:root", "above")) == ["crowded"]
    assert refused(world, visit(1, userId="u2", anonymousId="u2-1"), visit(1, userId="else", anonymousId="x")) == []
    check(world, ["user:root", "user:u1", "anon:one-more"])
    assert ids_of(world, "root") == IDS_MAX
