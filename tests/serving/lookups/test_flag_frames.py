"""A flag as one batch expression says of everybody what the live decision says of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from expressions.bases import base_of
from expressions.batch.counting import counted
from expressions.batch.frames import answer_frame, event_frame, person_answers
from expressions.rules.deletes import after_deletes
from expressions.rules.identity import owners
from expressions.rules.properties import attribute_fields, typed
from expressions.rules.windows import DAY_MS
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.definitions.flags import settings_after
from serving.lookups.flag_frames import decision_column, in_order, named_answers, with_decisions
from serving.people.decide import Decider
from serving.people.gather import gather
from serving.people.person import DecodedBases, person
from serving.store import base_codec
from serving.store.records import Reading, Record
from serving.times import rfc3339
from tests.chance import part_of_examples
from tests.expressions.live.cut_bases import NOW_MS, identify
from tests.pipelines.world import World, purchase

#: Instants at which schedules begin and end, and what lies on either side of them.
AT = [NOW_MS + days * DAY_MS + ms for days in (-1, 0, 1) for ms in (-1, 0, 1)]
#: Each person's ids, their own first, and their attributes.
PEOPLE: dict[tuple[str, ...], dict[str, Any]] = {
    ("user:ada", "anon:phone", "anon:laptop"): {"plan": "pro", "level": 3},
    ("user:bob", "email:bob@example.com"): {"plan": "free", "level": 1.5},
    ("user:eve",): {"plan": None},
    ("anon:visitor",): {"plan": ["a", "b"], "level": True},
    ("user:größe",): {"plan": "pro"},
    ("user:nothing",): {"plan": [], "level": 0},
    **{(f"user:{number}",): {"plan": "pro" if number % 2 else "free", "level": number} for number in range(12)},
}
IDS = [id for ids in PEOPLE for id in ids]
OWNERS = pl.DataFrame(
    [(id, ids[0], place) for ids in PEOPLE for place, id in enumerate(ids[1:])],
    schema={"id": pl.String, "owner": pl.String, "ts": pl.Int64},
    orient="row",
)
VARIANTS = ["blue", "red", "green"]

rules = st.sampled_from(
    [
        "true",
        "false",
        'plan == "pro"',
        "level > 2",
        'bucket("s") < 50000',
        "level",
        "plan",
        'plan == "pro" || level == 1.5',
    ]
)


@st.composite
def settings_of(draw: st.DrawFn, earlier: list[tuple[str, list[str]]]) -> tuple[dict[str, Any], list[str]]:
    """The settings of a flag that may need the earlier ones (their keys and variants), and its variants."""
    names = draw(st.lists(st.sampled_from(VARIANTS), unique=True))
    weights = [draw(st.sampled_from([0, 1, 3])) for _ in names]
    if names:
        weights[0] = max(weights[0], 1)
    settings: dict[str, Any] = {
        "enabled": draw(st.sampled_from([True, True, True, False])),
        "default": draw(st.sampled_from([False, *names] if names else [False, True])),
        "variants": [{"name": name, "weight": weight} for name, weight in zip(names, weights, strict=True)],
        "rollout": draw(st.sampled_from([0, 12.5, 50, 99.999, 100, 100])),
        "bucket_by": draw(st.sampled_from(["userId", "userId", "deviceId", "trait:plan", "trait:level"])),
        "users": draw(st.dictionaries(st.sampled_from(IDS), st.sampled_from([True, False, *names]), max_size=4)),
        "salt": draw(st.sampled_from(["one", "two"])),
    }
    start, end = draw(
        st.sampled_from(
            [(None, None), (None, None), (NOW_MS, None), (None, NOW_MS), (NOW_MS - DAY_MS, NOW_MS + DAY_MS)]
        )
    )
    settings |= {name: rfc3339(at) for name, at in (("starts_at", start), ("ends_at", end)) if at is not None}
    needed = draw(st.lists(st.sampled_from(earlier), max_size=2, unique_by=lambda one: one[0])) if earlier else []
    settings["prerequisites"] = [
        {"flag": key, "variant": draw(st.sampled_from([None, *of_flag]))} for key, of_flag in needed
    ]
    return settings, names


@st.composite
def catalogues_with_flags(draw: st.DrawFn) -> Catalogue:
    """Traits, and up to four flags that may need each other."""
    catalogue = Catalogue()
    for key in ("plan", "level"):
        catalogue = catalogue.with_definition(StoredDefinition(kind="trait", key=key, expression=f"profile.{key}"))
        catalogue = catalogue.with_activation(catalogue.projection_version, (0,), True)
    earlier: list[tuple[str, list[str]]] = []
    for number in range(draw(st.integers(1, 4))):
        key = f"f{number}"
        settings, names = draw(settings_of(earlier))
        stored = StoredDefinition(
            kind="flag", key=key, expression=draw(rules), settings=settings_after(key, {}, settings)
        )
        catalogue = catalogue.with_definition(stored)
        earlier.append((key, names))
    return catalogue


def people_frame() -> pl.LazyFrame:
    """Everybody's identify, as rows of the lake under their own ids."""
    return event_frame(
        {
            "shard": 0,
            "seq": number,
            "event_id": f"{number}",
            "kind": "identify",
            "id": ids[0],
            "ts": NOW_MS - 5 * DAY_MS,
            "received_at": NOW_MS,
            "props": {name: typed(value) for name, value in attribute_fields(attributes).items()},
        }
        for number, (ids, attributes) in enumerate(PEOPLE.items(), 1)
    )


@part_of_examples(3)
@given(catalogue=catalogues_with_flags())
def test_everybody_has_the_decision_that_they_have_live(catalogue: Catalogue) -> None:
    """At every instant around the edges of schedules, whatever flags need each other and whom they name."""
    asked = pl.DataFrame({"id": [ids[0] for ids in PEOPLE]}).join(pl.DataFrame({"now": AT}), how="cross")
    answers = answer_frame(people_frame(), list(catalogue.bounds.values()), asked)
    flags = in_order(catalogue.flags, catalogue.flags)
    decided = with_decisions(answers, flags, named_answers(flags, OWNERS), pl.col("now"))

    differing = []
    for row in decided.iter_rows(named=True):
        ids = next(ids for ids in PEOPLE if ids[0] == row["id"])
        base = base_codec.encode(base_of([identify(5 * DAY_MS, **PEOPLE[ids])]))
        records = [Record(id, base=None if place else base) for place, id in enumerate(ids)]
        decider = Decider(person(Reading(records, row["now"], catalogue.version), catalogue, DecodedBases()))
        for flag in flags:
            live, batch = decider.decision(flag.key), row[decision_column(flag.key)]
            if (live.allow, live.variant) != (batch["allow"], batch["variant"]):
                differing.append((flag.key, row["id"], row["now"] - NOW_MS, live.reasons, live.variant, batch))
    assert differing == []


def test_of_several_ids_that_a_flag_names_the_first_that_a_read_finds_counts(redis_url: str, tmp_path: Path) -> None:
    """The person's own id, then theirs in the order of the links: live and in the batch alike."""
    world = World(redis_url, tmp_path, shards=4)
    world.recover()
    for user in ("ada", "bob", "eve"):
        for number, device in enumerate((f"{user}-z", f"{user}-a")):
            world.ingest([purchase(user, number) | {"deviceId": device, "messageId": f"{user}{number}"}])
    users = {
        "anon:ada-a": "a",
        "anon:ada-z": "z",
        "bob": "own",
        "anon:bob-a": "a",
        "anon:eve-a": False,
        "anon:eve-z": "z",
    }
    world.drain().step()
    catalogue = world.catalogue.with_definition(
        StoredDefinition(
            kind="flag",
            key="f",
            expression="false",
            settings=settings_after(
                "f", {}, {"variants": [{"name": name} for name in ("a", "z", "own")], "users": users}
            ),
        )
    )
    rows = world.lake.events()
    answers = person_answers(counted(rows), [catalogue.bounds["flag", "f"]], world.store.now_ms())
    named = named_answers(catalogue.flags.values(), owners(after_deletes(rows)))
    decided = with_decisions(answers, list(catalogue.flags.values()), named, world.store.now_ms())

    batch = {id: decision["variant"] for id, decision in decided.select("id", decision_column("f")).iter_rows()}
    assert batch == {"user:ada": "z", "user:bob": "own", "user:eve": "z"}
    for id, variant in batch.items():
        reading = world.store.follow(gather(world.store.operations, id))
        assert Decider(person(reading, catalogue, DecodedBases())).decision("f").variant == variant
