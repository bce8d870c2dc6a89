"""Analyses of everybody: each says what asking for every person at every instant would, in parts of any size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from expressions.batch.counting import counted
from expressions.batch.frames import person_answers, users_where, values_of
from expressions.batch.over_time import TREND_DAYS, instants_of_days
from expressions.definitions import DefinitionKind, Key
from expressions.rules.identity import owners
from expressions.rules.windows import DAY_MS
from serving.definitions.catalogue import Catalogue, StoredDefinition, encode
from serving.definitions.flags import settings_after
from serving.history import Source
from serving.lookups import analyses
from serving.lookups.analyses import AnalysisKind, Order, Progress, analyse
from serving.lookups.flag_frames import decision_column, in_order, named_answers, with_decisions
from serving.times import rfc3339
from tests.pipelines.world import World

#: So few that people are in several files.
ROWS_AT_ONCE = 7


def order_of(
    world: World, analysis: AnalysisKind, kind: DefinitionKind, expression: str, key: str | None = None
) -> Order:
    """An analysis of an expression, now, some people at a time."""
    source = Source(world.lake.root, world.store.undrained_deletes())
    version, now_ms = world.lake.events_version(), world.store.now_ms()
    return Order(analysis, source, version, encode(world.catalogue), kind, key, expression, now_ms, None, ROWS_AT_ONCE)


def answer(order: Order) -> dict[str, Any]:
    """The result of an analysis, after its progress never went back."""
    reports: list[Progress] = []
    analyse(order, reports.append)
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert reports[-1].done == reports[-1].of
    assert reports[-1].result is not None
    return reports[-1].result


@pytest.fixture
def world(redis_url: str, tmp_path: Path) -> World:
    """People of one id and of several, whose purchases are spread over 40 days."""
    world = World(redis_url, tmp_path, shards=4, time_zone="Europe/Berlin")
    world.recover()
    world.define("segment", {"buyers": "events.purchase.count_30d >= 2"})
    now_ms, events = world.store.now_ms(), list[dict[str, Any]]()
    for user in range(20):
        for number in range(3):
            at = rfc3339(now_ms - (user * 2 + number) * DAY_MS - number * 3_600_000)
            ids = {"deviceId": f"d{user}"} if number == 1 else {"userId": f"u{user}"}
            events.append(
                {"type": "track", "event": "purchase", "messageId": f"{user}-{number}", "timestamp": at, **ids}
            )
        if user % 3:
            events.append({"type": "identify", "userId": f"u{user}", "deviceId": f"d{user}", "messageId": f"i{user}"})
    world.ingest(events)
    world.drain().step()
    return world


@pytest.mark.parametrize("expression", ['segment("buyers")', "events.purchase.count == 0", "last_seen_days_ago < 3"])
def test_a_trend_counts_each_day_as_a_question_about_that_day_would(world: World, expression: str) -> None:
    """Whoever has several ids is one person on each of the days, and links count whenever they came."""
    order = order_of(world, "trend", "segment", expression)

    result = answer(order)

    catalogue = world.catalogue
    bound = saved_as(world, expression)
    events = counted(world.lake.events()).collect().lazy()
    days = instants_of_days(order.now_ms, catalogue.zone)
    for point, (at, day) in list(zip(result["points"], days.items(), strict=True))[:-50:-7]:
        members = users_where(person_answers(events, [bound], at, catalogue.zone), ("segment", "asked"))
        assert point == {"date": day.isoformat(), "members": len(members)}
    assert len(result["points"]) == TREND_DAYS
    assert result["total"] == len(person_answers(events, [bound], order.now_ms, catalogue.zone))
    assert result["asof"] == rfc3339(order.now_ms)


def saved_as(world: World, expression: str) -> Any:
    """The expression, bound as the segment `asked`."""
    world.define("segment", {"asked": expression})
    return world.catalogue.bounds["segment", "asked"]


def test_the_days_of_a_trend_end_at_midnight_of_the_workspace(world: World) -> None:
    """On the day that clocks are put back a date has 25 hours; the last instant is now."""
    noon_ms = 1_793_001_600_000  # 26 October 2026, 12:00 UTC

    days = instants_of_days(noon_ms, world.catalogue.zone, 3)

    assert [day.isoformat() for day in days.values()] == ["2026-10-24", "2026-10-25", "2026-10-26"]
    ends = list(days)
    assert ends[1] - ends[0] == 25 * 3_600_000
    assert ends[2] == noon_ms


def test_an_overlap_counts_who_is_in_both(world: World) -> None:
    """Each other segment, the largest overlap first; the very segment that is asked about is left out."""
    world.define("segment", {"all": "true", "nobody": "false", "lately": "last_seen_days_ago < 10"})

    result = answer(order_of(world, "overlap", "segment", "events.purchase.count_30d >= 2", key="buyers"))

    catalogue, events = world.catalogue, counted(world.lake.events()).collect().lazy()
    answers = person_answers(events, list(catalogue.bounds.values()), world.store.now_ms(), catalogue.zone)
    ids = {key: set(users_where(answers, ("segment", key))["id"]) for _, key in catalogue.bounds}
    assert (result["members"], result["total"]) == (len(ids["buyers"]), len(answers))
    assert result["segments"] == [
        {"key": key, "members": len(ids[key]), "both": len(ids[key] & ids["buyers"])}
        for key in ("all", "lately", "nobody")
    ]
    assert 0 < result["segments"][1]["both"] < result["members"]


def test_an_impact_counts_who_enters_and_leaves_all_that_uses_a_definition(world: World) -> None:
    """A segment's edit reaches the trait and the flag that use it, and the flag that needs that flag; no others."""
    world.define("trait", {"label": 'if(segment("buyers"), "buyer", "other")', "quiet": "last_seen_days_ago"})
    world.define("segment", {"far": "quiet > 3"})
    variants = {"variants": [{"name": "a"}, {"name": "b"}], "default": "a"}
    before = world.catalogue
    for flag, rule, given in (
        ("offer", 'segment("buyers")', {"rollout": 50}),
        ("colour", "label == 'buyer'", variants),
        ("beyond", "true", {"prerequisites": [{"flag": "offer"}]}),
        ("apart", 'segment("far")', {}),
    ):
        settings = settings_after(flag, {}, given)
        before = before.with_definition(StoredDefinition(kind="flag", key=flag, expression=rule, settings=settings))
    after = before.with_definition(
        StoredDefinition(kind="segment", key="buyers", expression="events.purchase.count_7d >= 1 || quiet > 30")
    )

    result = impact_of(world, before, after, ("segment", "buyers"))

    told, everybody = [told_by(world, catalogue) for catalogue in (before, after)], len(told_by(world, before)["offer"])
    shown = {one["key"]: one for one in result["definitions"]}
    assert next(iter(shown)) == "buyers"
    assert shown.keys() == {"buyers", "label", "offer", "colour", "beyond"}
    assert (result["total"], result["left_out"]) == (everybody, 0)
    for key, one in shown.items():
        old, new = told[0][key], told[1][key]
        assert one["changed"] == sum(old[id] != new[id] for id in old), key
        enters = {id for id in old if has(new[id]) and not has(old[id])}
        assert (one["before"], one["after"]) == (sum(map(has, old.values())), sum(map(has, new.values()))), key
        assert one["enters"]["count"] == len(enters), key
        assert set(one["enters"]["sample"]) <= enters, key
        assert len(one["enters"]["sample"]) == min(10, len(enters)), key
        decisions = Counter((old[id], new[id]) for id in old if old[id] != new[id]) if one["kind"] == "flag" else {}
        assert {
            (tuple(change["before"].values()), tuple(change["after"].values())): change["count"]
            for change in one["decisions"]
        } == decisions, key
    assert shown["buyers"]["enters"]["count"] > 0
    assert shown["buyers"]["leaves"]["count"] > 0
    assert len(shown["colour"]["decisions"]) > 1


def test_an_impact_of_a_new_definition_and_of_settings_alone(world: World) -> None:
    """Nobody had what was not there; a flag's rollout changes the flag and not the rule."""
    before = world.catalogue
    new = before.with_definition(StoredDefinition(kind="segment", key="fresh", expression="true"))
    flag = {"kind": "flag", "key": "f", "expression": "true"}
    on = before.with_definition(StoredDefinition(**flag))
    off = on.with_definition(StoredDefinition(**flag, settings=settings_after("f", {}, {"rollout": 0})))

    (made,) = impact_of(world, before, new, ("segment", "fresh"))["definitions"]
    (rolled,) = impact_of(world, on, off, ("flag", "f"))["definitions"]

    total = len(told_by(world, before)["buyers"])
    assert (made["before"], made["after"], made["enters"]["count"]) == (0, total, total)
    assert (rolled["before"], rolled["after"], rolled["leaves"]["count"]) == (total, 0, total)
    assert impact_of(world, on, on, ("flag", "f"))["definitions"] == []


def test_an_impact_of_a_delete(world: World) -> None:
    """Whoever had it has it no more, and a flag that is gone allows nobody."""
    on = world.catalogue.with_definition(StoredDefinition(kind="flag", key="f", expression='segment("buyers")'))
    gone = on.with_definition(msgspec.structs.replace(on.definitions["flag", "f"], deleted=True))
    order = msgspec.structs.replace(
        order_of(world, "impact", "flag", 'segment("buyers")', key="f"), catalogue=encode(on), after=encode(gone)
    )

    (found,) = answer(order)["definitions"]

    buyers = {id for id, is_in in told_by(world, on)["buyers"].items() if is_in}
    assert buyers
    assert (found["key"], found["before"], found["after"]) == ("f", len(buyers), 0)
    assert (found["changed"], found["leaves"]["count"]) == (len(buyers), len(buyers))
    assert set(found["leaves"]["sample"]) <= buyers
    assert [change["count"] for change in found["decisions"]] == [len(buyers)]


@pytest.mark.parametrize("expression", ['segment("buyers")', "events.purchase.count == 0", "last_seen_days_ago < 3"])
def test_the_people_of_an_expression_are_counted_and_the_first_listed(world: World, expression: str) -> None:
    """Whoever has several ids is one person, on the list once, by id."""
    result = answer(order_of(world, "people", "segment", expression))

    bound = saved_as(world, expression)
    events = counted(world.lake.events())
    answers = person_answers(events, [bound], world.store.now_ms(), world.catalogue.zone)
    members = users_where(answers, ("segment", "asked"))["id"].to_list()
    assert (result["count"], result["total"], result["variants"]) == (len(members), len(answers), [])
    assert result["sample"] == [{"id": id, "variant": None, "since": None} for id in members]


def test_the_members_of_a_saved_segment_say_since_when(world: World) -> None:
    """As the last rebuild has it."""
    as_of_ms = world.rebuild().as_of_ms

    result = answer(order_of(world, "people", "segment", "events.purchase.count_30d >= 2", key="buyers"))

    assert result["count"] > 0
    assert {one["since"] for one in result["sample"]} == {rfc3339(as_of_ms)}


def test_the_people_of_a_flag_are_those_whom_it_allows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With prerequisites, named people, rollout and variants; of each variant as many are listed."""
    monkeypatch.setattr(analyses, "LISTED_MAX", 4)
    catalogue = world.catalogue
    for flag, rule, given in (
        ("needed", 'bucket("x") < 90000', {}),
        (
            "offer",
            'segment("buyers") || last_seen_days_ago < 20',
            {
                "rollout": 80,
                "variants": [{"name": "a"}, {"name": "b"}],
                "users": {"u0": "b", "u1": False, "anon:d2": "a"},
                "prerequisites": [{"flag": "needed"}],
            },
        ),
    ):
        stored = StoredDefinition(kind="flag", key=flag, expression=rule, settings=settings_after(flag, {}, given))
        catalogue = catalogue.with_definition(stored)
    order = order_of(world, "people", "flag", "true", key="offer")

    result = answer(msgspec.structs.replace(order, catalogue=encode(catalogue)))

    told = told_by(world, catalogue)["offer"]
    allowed = {id: variant for id, (allow, variant) in told.items() if allow}
    counts = Counter(allowed.values())
    assert (result["count"], result["total"]) == (len(allowed), len(told))
    assert result["variants"] == [
        {"variant": name, "count": n} for name, n in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    ]
    firsts = {id for name in "ab" for id in sorted(id for id in allowed if allowed[id] == name)[:2]}
    assert [(one["id"], one["variant"]) for one in result["sample"]] == [(id, allowed[id]) for id in sorted(firsts)]


def test_a_list_of_people_is_bounded_in_bytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result is one line of a job's output: of long ids there are fewer."""
    monkeypatch.setattr(analyses, "LISTED_BYTES_MAX", 40)

    result = answer(order_of(world, "people", "segment", "true"))

    listed = [one["id"] for one in result["sample"]]
    assert 0 < len(listed) < result["count"]
    assert len("".join(listed)) <= 40


def impact_of(world: World, before: Catalogue, after: Catalogue, edited: Key) -> dict[str, Any]:
    """The impact of an edit, over the world's lake."""
    order = order_of(world, "impact", edited[0], after.definitions[edited].expression, key=edited[1])
    return answer(msgspec.structs.replace(order, catalogue=encode(before), after=encode(after)))


def told_by(world: World, catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """What each definition says of each person: a value, or of a flag whether it allows and the variant."""
    rows, now_ms = world.lake.events(), world.store.now_ms()
    answers = person_answers(counted(rows), list(catalogue.bounds.values()), now_ms, catalogue.zone)
    told: dict[str, dict[str, Any]] = {key: values_of(answers, (kind, key)) for kind, key in catalogue.bounds}
    flags = in_order(catalogue.flags, catalogue.flags)
    decided = with_decisions(answers, flags, named_answers(flags, owners(rows)), now_ms)
    for flag in flags:
        rows_of_flag = decided.select("id", decision_column(flag.key)).iter_rows()
        told[flag.key] = {id: (decision["allow"], decision["variant"]) for id, decision in rows_of_flag}
    return told


def has(told: Any) -> bool:
    """Whether a definition holds for whom it says this."""
    return told[0] if isinstance(told, tuple) else told is not None and told is not False


def test_an_empty_lake_has_a_trend(redis_url: str, tmp_path: Path) -> None:
    """Of nobody, on ninety days."""
    world = World(redis_url, tmp_path, shards=2)
    world.recover()

    result = answer(order_of(world, "trend", "segment", "true"))

    assert {point["members"] for point in result["points"]} == {0}
    assert (len(result["points"]), result["total"]) == (TREND_DAYS, 0)
