"""Events as apps send them mean the same live and in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.lake import Lake
from lake.schemas import EVENTS
from pipelines.importing.import_file import import_file
from pipelines.importing.made import Inexact
from pipelines.importing.report import Imported
from pipelines.importing.terms import Reading
from serving.people.links import complete_links
from serving.refusals import Invalid
from tests.chance import part_of_examples
from tests.pipelines.world import World, empty_world

TRAITS = {
    "orders": "events.order.count",
    "spent": "events.order.amount.sum",
    "plan": "profile.plan",
    "city": "profile.address.city",
    "pages": "events.`Page Viewed`.count",
    "last": "events.order.amount.last",
}
#: What differs between an event that was logged and one of a file.
OWN = ("seq", "received_at", "ingest_date", "ts", "import_id")

properties = st.dictionaries(
    st.sampled_from(["amount", "note", "gift", "tags", "item", "none"]),
    st.one_of(st.integers(-5, 2**60), st.floats(-9, 9), st.text('aé"\\\n', max_size=3), st.booleans(), st.none())
    | st.lists(st.integers(0, 3), max_size=2)
    | st.fixed_dictionaries({"sku": st.text("xy", max_size=2)}),
    max_size=4,
)
times = st.integers(1_600_000_000_000, 1_700_000_000_000) | st.sampled_from(
    [
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20+00",
        "20231114T221320Z",
        "1960-01-01",
        "2023-11-14T22:13:20.123+05:30",
    ]
)
bodies = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "track", "identify", "page", "screen", "group", "alias", "nonsense"])},
    optional={
        "event": st.sampled_from(["order", "seen", "", " "]),
        "userId": st.sampled_from(["ann", "bob", 7, ""]),
        "anonymousId": st.sampled_from(["phone", "laptop"]),
        "email": st.sampled_from(["a@example.com"]),
        "previousId": st.sampled_from(["old", "anon:older", "user:oldest"]),
        "groupId": st.sampled_from(["team", 5]),
        "name": st.sampled_from(["Home", 3]),
        "properties": properties | st.just([1]),
        "traits": st.fixed_dictionaries({}, optional={"plan": st.sampled_from(["pro", None]), "address": properties}),
        "context": st.just({"ip": "::1", "traits": {"plan": "free"}}),
        "messageId": st.sampled_from(["m1", 12, "x" * 100]),
        "originalTimestamp": times,
    },
)


def rows(lake: Lake) -> list[dict[str, Any]]:
    """All rows of events without what differs, in order; not the links, which are acts of the system."""
    frame = pl.DataFrame(pl.from_arrow(lake.open(EVENTS).to_pyarrow_table()))
    kept = frame.filter(pl.col("kind") != "link").drop(OWN)
    return sorted((row | {"props": sorted(map(repr, row["props"] or []))} for row in kept.to_dicts()), key=repr)


def owners(world: World) -> list[str | None]:
    """To whom the ids of the examples belong."""
    ids = ["anon:phone", "anon:laptop", "anon:old", "user:old", "anon:older", "user:oldest", "user:7"]
    return [None if owner is None else owner.id for owner in world.store.owners(ids)]


@part_of_examples(5)
@given(events=st.lists(st.tuples(bodies, times), max_size=12))
def test_a_file_of_events_is_what_these_are_live(
    url: str, tmp_path_factory: pytest.TempPathFactory, events: list[tuple[dict[str, Any], Any]]
) -> None:
    """The same bodies give the same rows, links, values and refusals, whether an app sends them or a file has them."""
    sent = [{"messageId": f"line-{at}", **body, "timestamp": time} for at, (body, time) in enumerate(events)]
    live = empty_world(url, tmp_path_factory.mktemp("live"), "trait", TRAITS)
    refused = 0
    good = []
    for body in sent:
        try:
            live.ingest([body])
            good.append(body)
        except Invalid:
            refused += 1
    live.drain().step()
    live.rebuild()
    expected, expected_owners = rows(live.lake), owners(live)
    values = {user: live.values(user) for user in ("ann", "bob", "anon:phone", "anon:laptop")}

    folder = tmp_path_factory.mktemp("file")
    world = empty_world(url, folder, "trait", TRAITS)
    path = folder / "events.jsonl"
    path.write_text("".join(json.dumps(body) + "\n" for body in sent))
    done = import_file(
        world.lake,
        path,
        reading=Reading(as_sent=True),
        now_ms=world.store.now_ms(),
        shards=world.settings.shards,
        begin=lambda identities: "a1",
        link=lambda claiming: world.store.follow(complete_links(world.store.operations, claiming)),
    )
    world.drain().step()
    world.rebuild()

    assert (done.rejected, done.accepted) == (refused, len(good))
    ids_of_imports = world.lake.scan(EVENTS).select(of=pl.col("seq").is_null(), id="import_id").unique().collect()
    assert set(ids_of_imports.rows()) <= {(True, "a1"), (False, None)}, "what was logged is of no import"
    imported = rows(world.lake)
    distinct = [row for at, row in enumerate(imported) if row not in imported[:at]]
    assert distinct == [row for at, row in enumerate(expected) if row not in expected[:at]] or _repeats(good)
    assert owners(world) == expected_owners
    if not _repeats(good):
        assert {user: world.values(user) for user in values} == values


def _repeats(events: list[dict[str, Any]]) -> bool:
    """Whether an id comes twice: then the copies are taken in another order, as all of a file are received at once."""
    ids = [str(event["messageId"]) for event in events]
    return len({*ids}) < len(ids)


def test_an_event_without_a_time_or_an_id(tmp_path: Path) -> None:
    """History says when it happened. Two equal events without an id are two, the same file again adds nothing."""
    lake, path = Lake(str(tmp_path / "lake")), tmp_path / "events.jsonl"
    event = {"type": "track", "userId": "ann", "event": "order", "sentAt": "2024-01-01T00:00:00Z"}
    timed = json.dumps(event | {"timestamp": "2023-01-01"})
    path.write_text(f"{timed}\n{json.dumps(event)}\n{timed}\n")

    def imported() -> Imported:
        return import_file(lake, path, reading=Reading(as_sent=True), now_ms=1_800_000_000_000)

    done = imported()
    assert done == Imported(2, 1, 0)
    assert done.refused[0].reason == "timestamp: say when the event happened, in timestamp"
    found = lake.events().collect()
    assert (found["event_id"].n_unique(), found["ts"].unique().to_list()) == (2, [1_672_531_200_000])
    assert imported() == Imported(0, 1, 2)


@pytest.mark.parametrize("name", ["timestamp", "ts", "originalTimestamp"])
def test_a_shift_knows_every_field_that_says_when(tmp_path: Path, name: str) -> None:
    """With `shift_to_now` the latest event is now, whichever field has its time."""
    lake, path, now_ms = Lake(str(tmp_path / "lake")), tmp_path / "events.jsonl", 1_800_000_000_000
    event = {"type": "track", "userId": "ann", "event": "order"}
    lines = [event | {name: 1_600_000_000_000}, event | {name: "2020-09-13T12:26:50Z"}, event, event | {name: "x"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = import_file(lake, path, reading=Reading(as_sent=True), shift_to_now=True, now_ms=now_ms)

    assert (done.accepted, done.rejected) == (2, 2)
    assert lake.events().collect()["ts"].sort().to_list() == [now_ms - 10_000, now_ms]


def test_whole_numbers_of_events_that_no_float_holds_are_told(tmp_path: Path) -> None:
    """Properties and attributes have them in the report, with the line and the digits of the first; texts do not."""
    path = tmp_path / "events.jsonl"
    event = {"type": "track", "userId": "ann", "event": "order", "timestamp": "2023-01-01"}
    lines = [
        event | {"properties": {"order": 2**53 - 1, "text": str(2**53 + 1)}},
        event | {"properties": {"order": 2**53 + 1}},
        event | {"properties": {"order": -(2**60), "item": {"code": 2**54}}},
        event | {"type": "identify", "traits": {"account": 2**53}},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    done = import_file(Lake(str(tmp_path / "lake")), path, reading=Reading(as_sent=True), now_ms=1_800_000_000_000)

    assert done.inexact == {
        "properties.order": Inexact(2, 2, str(2**53 + 1)),
        "properties.item.code": Inexact(1, 3, str(2**54)),
        "traits.account": Inexact(1, 4, str(2**53)),
    }
