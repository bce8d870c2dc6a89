"""The decision of a flag, step by step: whom it is about, which step ends it, and the reason in the answer."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from expressions.bases import base_of
from expressions.live.changes import NoInstant
from expressions.rules.bucketing import bucket_of
from expressions.rules.values import instant_ms
from serving.definitions.catalogue import Catalogue, StoredDefinition
from serving.definitions.flags import CHAIN_MAX, flag_of, settings_after
from serving.people.decide import Decider, Decision, error_decision
from serving.people.person import DecodedBases, person
from serving.refusals import Invalid
from serving.store import base_codec
from serving.store.records import Reading, Record
from tests.expressions.live.cut_bases import NOW_MS, identify

BLUE_AND_RED: dict[str, Any] = {"variants": [{"name": "blue", "weight": 3}, {"name": "red", "value": {"hex": "#f00"}}]}
LATER, EARLIER = "2199-01-01T00:00:00Z", "2001-01-01T00:00:00Z"


def catalogue_of(*flags: tuple[str, str, dict[str, Any]], is_empty: bool = True) -> Catalogue:
    """Flags, (key, rule, settings as they are sent), beside a trait `plan`, all live where the system is empty."""
    catalogue = Catalogue().with_definition(StoredDefinition(kind="trait", key="plan", expression="profile.plan"))
    for key, rule, given in flags:
        catalogue = catalogue.with_definition(
            StoredDefinition(kind="flag", key=key, expression=rule, settings=settings_after(key, {}, given))
        )
    return catalogue.with_activation(catalogue.projection_version, (0,), is_empty)


def decider(catalogue: Catalogue, *ids: str, device: str | None = None, plan: str = "pro", **more: Any) -> Decider:
    """A decider for a person with these ids and this plan."""
    base = base_codec.encode(base_of([identify(0, plan=plan)]))
    records = [Record(id, base=base if at == 0 else None) for at, id in enumerate(ids)]
    return Decider(person(Reading(records, NOW_MS, catalogue.version), catalogue, DecodedBases()), device, **more)


def decided(rule: str = "true", user: str = "user:ada", plan: str = "pro", **settings: Any) -> Decision:
    """The decision of one flag for one user."""
    return decider(catalogue_of(("f", rule, settings)), user, plan=plan).decision("f")


def answer_of(decision: Decision) -> tuple[bool, str, str | None, Any]:
    """The answer of a decision, with its reason."""
    return decision.allow, decision.reason, decision.variant, decision.value


class TestPlainFlags:
    @pytest.mark.parametrize(
        ("rule", "answer"),
        [
            ("true", (True, "STATIC", None, True)),
            ("false", (False, "STATIC", None, False)),
            ("plan == 'pro'", (True, "TARGETING_MATCH", None, True)),
            ("plan == 'free'", (False, "DEFAULT", None, False)),
        ],
    )
    def test_the_rule_alone_answers(self, rule: str, answer: tuple[Any, ...]) -> None:
        """Without variants the value is whether the flag allows; a rule that says the same of everybody is STATIC."""
        assert answer_of(decided(rule)) == answer

    def test_off_answers_the_default(self) -> None:
        """A flag that is off is DISABLED, whatever its rule says."""
        assert answer_of(decided(enabled=False)) == (False, "DISABLED", None, False)
        assert answer_of(decided("false", enabled=False, default=True)) == (True, "DISABLED", None, True)

    def test_a_rule_that_says_no_does_not_allow_by_default(self) -> None:
        """A default of true allows only a flag that is off or stale, not one whose rule says no."""
        assert answer_of(decided("plan == 'free'", default=True)) == (False, "DEFAULT", None, False)

    def test_warming_answers_the_default(self) -> None:
        """A flag over a trait that is warming is STALE, and answers its default."""
        catalogue = catalogue_of(("f", "plan == 'pro'", {"default": True}), is_empty=False)

        decision = decider(catalogue, "user:ada").decision("f")

        assert answer_of(decision) == (True, "STALE", None, True)

    def test_reasons_keep_their_format(self) -> None:
        """Reasons name segments, traits, then the result, in the format that clients know."""
        assert decided("trait('plan') == 'pro'").reasons == ['trait(plan) = "pro"', "final_result = true"]


class TestVariants:
    def test_everybody_has_the_variant_of_their_bucket(self) -> None:
        """People have the variants in the shares of the weights; a variant without a value has its name as value.

        D-16: variants were never produced.
        """
        catalogue = catalogue_of(("f", "true", BLUE_AND_RED))
        decisions = [decider(catalogue, f"user:{n}").decision("f") for n in range(4_000)]

        assert {(decision.allow, decision.reason) for decision in decisions} == {(True, "SPLIT")}
        assert {decision.variant: decision.value for decision in decisions} == {"blue": "blue", "red": {"hex": "#f00"}}
        assert abs(Counter(decision.variant for decision in decisions)["blue"] - 3_000) < 4 * 27.4

    def test_the_variant_is_that_of_the_documented_hash(self) -> None:
        """blue has the first three quarters of the buckets under the salt KEY:variant."""
        for n in range(200):
            expected = "blue" if bucket_of("f:variant", f"user:{n}") < 75_000 else "red"
            assert decided(user=f"user:{n}", **BLUE_AND_RED).variant == expected

    def test_one_variant_for_all_is_no_split(self) -> None:
        """A variant with all the weight is TARGETING_MATCH or STATIC, as without variants."""
        only = {"variants": [{"name": "on", "weight": 1, "value": 1}, {"name": "off", "weight": 0, "value": 0}]}

        assert answer_of(decided(**only)) == (True, "STATIC", "on", 1)
        assert answer_of(decided("plan == 'pro'", **only)) == (True, "TARGETING_MATCH", "on", 1)

    def test_a_default_variant_is_answered_without_allowing(self) -> None:
        """A person who is not allowed has the value of the default variant."""
        off = {"variants": [{"name": "on", "value": 10}, {"name": "off", "weight": 0, "value": 0}], "default": "off"}

        assert answer_of(decided("plan == 'free'", **off)) == (False, "DEFAULT", "off", 0)
        assert answer_of(decided(enabled=False, **off)) == (False, "DISABLED", "off", 0)

    def test_false_is_a_value_and_null_is_none(self) -> None:
        """The value of a variant is any JSON but null, which clients take for no answer. One that was saved as null
        before may stay."""
        assert decided(variants=[{"name": "none", "value": False}]).value is False
        with pytest.raises(Invalid, match=r"variants\[0\]\.value"):
            decided(variants=[{"name": "none", "value": None}])
        before = {"variants": [{"name": "none", "weight": 1.0, "value": None}]}
        assert settings_after("f", before, {"enabled": False})["variants"] == before["variants"]


class TestRollout:
    def test_a_share_of_those_whom_the_rule_allows(self) -> None:
        """Membership is the bucket under KEY:membership below the rollout; both sides of it are SPLIT."""
        for n in range(200):
            decision = decided("plan == 'pro'", user=f"user:{n}", rollout=12.5)
            assert decision.allow is (bucket_of("f:membership", f"user:{n}") < 12_500)
            assert decision.reason == "SPLIT"
            assert decision.reasons[1] == f"rollout(12.5) = {str(decision.allow).lower()}"
        assert decided("plan == 'free'", rollout=99.9).reason == "DEFAULT"

    def test_growing_keeps_who_is_in(self) -> None:
        """A person who is in at 10 % is in at 20 %, with the same variant."""
        for n in range(300):
            small = decided(user=f"user:{n}", rollout=10, **BLUE_AND_RED)
            large = decided(user=f"user:{n}", rollout=20, **BLUE_AND_RED)
            assert not small.allow or large.variant == small.variant

    def test_nobody_and_everybody(self) -> None:
        """A rollout of 0 is for nobody, and one of 100 is as if there were none."""
        assert answer_of(decided(rollout=0)) == (False, "SPLIT", None, False)
        assert answer_of(decided(rollout=100)) == (True, "STATIC", None, True)

    def test_another_salt_is_another_draw(self) -> None:
        """Two flags with one salt agree on everybody; another salt does not."""
        first, same, other = (
            [decided(user=f"user:{n}", rollout=50, salt=salt).allow for n in range(200)] for salt in ("a", "a", "b")
        )

        assert first == same
        assert first != other


class TestBucketing:
    def test_a_person_is_bucketed_by_the_id_that_owns_the_others(self) -> None:
        """Once ids are linked, each of them has the bucket of the user."""
        catalogue = catalogue_of(("f", "true", {"rollout": 50}))
        for n in range(50):
            linked = decider(catalogue, f"user:{n}", f"anon:{n}", device=f"anon:{n}").decision("f")
            assert linked.allow is (bucket_of("f:membership", f"user:{n}") < 50_000)

    def test_by_device(self) -> None:
        """`deviceId` buckets by the device of the request, linked or not; without a device by the user."""
        catalogue = catalogue_of(("f", "true", {"rollout": 50, "bucket_by": "deviceId"}))
        for n in range(50):
            of_device = bucket_of("f:membership", f"anon:{n}") < 50_000
            before = decider(catalogue, f"anon:{n}", device=f"anon:{n}").decision("f")
            after = decider(catalogue, f"user:{n}", f"anon:{n}", device=f"anon:{n}").decision("f")
            without = decider(catalogue, f"user:{n}").decision("f")
            assert (before.allow, after.allow) == (of_device, of_device)
            assert without.allow is (bucket_of("f:membership", f"user:{n}") < 50_000)

    def test_by_a_trait(self) -> None:
        """`trait:KEY` puts people with one value in or out together, and nobody in with null."""
        catalogue = catalogue_of(("f", "true", {"rollout": 50, "bucket_by": "trait:plan"}))
        for plan in ("pro", "free", "größer"):
            together = {decider(catalogue, f"user:{n}", plan=plan).decision("f").allow for n in range(20)}
            assert together == {bucket_of("f:membership", f'trait:"{plan}"') < 50_000}
        everybody = catalogue_of(("f", "true", {"rollout": 99.999, "bucket_by": "trait:plan"}))
        nobody = Decider(person(Reading([Record("user:x")], NOW_MS, 1), everybody, DecodedBases()))
        assert answer_of(nobody.decision("f")) == (False, "SPLIT", None, False)


class TestNamedUsers:
    def test_what_is_said_by_name_stands_above_the_rule(self) -> None:
        """A named user gets true, false or a variant, whatever rule and rollout say."""
        settings = {**BLUE_AND_RED, "rollout": 0, "users": {"ada": "red", "anon:phone": True, "eve": False}}
        catalogue = catalogue_of(("f", "plan == 'free'", settings), ("g", "true", settings | {"rollout": 100}))

        assert answer_of(decider(catalogue, "user:ada").decision("f")) == (
            True,
            "TARGETING_MATCH",
            "red",
            {"hex": "#f00"},
        )
        assert decider(catalogue, "user:bob", "anon:phone").decision("f").allow
        assert answer_of(decider(catalogue, "user:eve").decision("g")) == (False, "TARGETING_MATCH", None, False)
        assert decider(catalogue, "user:bob").decision("f").reason == "DEFAULT"

    def test_a_flag_with_names_is_not_static(self) -> None:
        """A flag that names users is not STATIC, since it does not say the same of everybody."""
        assert decided(users={"ada": False}, user="user:bob").reason == "TARGETING_MATCH"


class TestSchedule:
    @pytest.mark.parametrize(
        ("schedule", "reason"),
        [
            ({"starts_at": LATER}, "DISABLED"),
            ({"ends_at": EARLIER}, "DISABLED"),
            ({"starts_at": EARLIER, "ends_at": LATER}, "STATIC"),
        ],
    )
    def test_outside_of_it_a_flag_is_off(self, schedule: dict[str, str], reason: str) -> None:
        """A flag is on from its start, up to but not at its end; outside of that it is DISABLED."""
        decision = decided(**schedule)

        assert (decision.allow, decision.reason) == (reason == "STATIC", reason)
        assert ("scheduled = false" in decision.reasons) is (reason == "DISABLED")

    def test_the_instants_themselves(self) -> None:
        """A schedule is [start, end): the first instant is inside, the last is not."""
        flag = flag_of("f", settings_after("f", {}, {"starts_at": "2026-01-01", "ends_at": "2026-01-02"}))
        start_ms, end_ms = instant_ms("2026-01-01"), instant_ms("2026-01-02")
        assert start_ms is not None
        assert end_ms is not None

        assert [flag.is_scheduled(at) for at in (start_ms - 1, start_ms, end_ms - 1, end_ms)] == [
            False,
            True,
            True,
            False,
        ]

    def test_it_says_until_when(self) -> None:
        """An answer that may be kept names the next instant of its schedule, so that nobody keeps it beyond."""
        assert decided(starts_at=EARLIER, ends_at=LATER, cache_seconds=60).fresh_until_ms == instant_ms(LATER)
        assert decided(starts_at=EARLIER, cache_seconds=60).fresh_until_ms is NoInstant.NEVER
        assert decided(starts_at=EARLIER, ends_at=LATER).fresh_until_ms is NoInstant.UNKNOWN


class TestPrerequisites:
    def test_another_flag_must_allow(self) -> None:
        """A flag whose prerequisite does not allow, or has another variant than it needs, answers its default."""
        catalogue = catalogue_of(
            ("open", "true", {}),
            ("shut", "false", {}),
            ("colour", "true", {**BLUE_AND_RED, "users": {"ada": "red"}}),
            ("after_open", "true", {"prerequisites": [{"flag": "open"}]}),
            ("after_shut", "true", {"prerequisites": [{"flag": "open"}, {"flag": "shut"}]}),
            ("after_red", "true", {"prerequisites": [{"flag": "colour", "variant": "red"}]}),
            ("after_blue", "true", {"prerequisites": [{"flag": "colour", "variant": "blue"}]}),
        )
        ada = decider(catalogue, "user:ada")

        decisions = {key: ada.decision(key) for key in ("after_open", "after_shut", "after_red", "after_blue")}

        assert {key: (decision.allow, decision.reason) for key, decision in decisions.items()} == {
            "after_open": (True, "TARGETING_MATCH"),
            "after_shut": (False, "DEFAULT"),
            "after_red": (True, "TARGETING_MATCH"),
            "after_blue": (False, "DEFAULT"),
        }
        assert decisions["after_shut"].reasons == [
            "prerequisite(open) = true",
            "prerequisite(shut) = false",
            "final_result = false",
        ]

    def test_what_waits_for_a_warming_flag_is_stale(self) -> None:
        """A flag whose prerequisite is warming is STALE."""
        catalogue = catalogue_of(
            ("first", "plan == 'pro'", {}), ("second", "true", {"prerequisites": [{"flag": "first"}]}), is_empty=False
        )

        assert decider(catalogue, "user:ada").decision("second").reason == "STALE"

    @pytest.mark.parametrize("plan", ["pro", "free"])
    def test_the_longest_row_answers_alike_alone_and_with_others(self, plan: str) -> None:
        """Each flag of the longest row that can be saved has one answer: asked alone, or with all in any order."""
        keys = [f"f{number}" for number in range(CHAIN_MAX)]
        rows = [(key, "true", {"prerequisites": [{"flag": needed}]}) for key, needed in pairwise(keys)]
        catalogue = catalogue_of((keys[-1], "plan == 'pro'", {}), *reversed(rows))

        alone = {key: answer_of(decider(catalogue, "user:ada", plan=plan).decision(key)) for key in keys}

        for order in (keys, keys[::-1], [*keys[16:], *keys[:16]]):
            together = decider(catalogue, "user:ada", plan=plan)
            assert {key: answer_of(together.decision(key)) for key in order} == alone
        assert {allow for allow, *_ in alone.values()} == {plan == "pro"}


class TestExplaining:
    def test_every_step_is_told(self) -> None:
        """An explanation has the tree of the rule, and beside it each step with what the step looked at."""
        settings = {**BLUE_AND_RED, "rollout": 99.999, "prerequisites": [{"flag": "open"}]}
        catalogue = catalogue_of(("open", "true", {}), ("f", "plan == 'pro'", settings))
        decision = decider(catalogue, "user:ada", with_tree=True).decision("f")

        assert decision.explanation is not None
        steps = {step["step"]: step for step in decision.explanation["steps"]}
        assert list(steps) == ["prerequisite", "rule", "rollout", "variant"]
        assert steps["prerequisite"]["decision"] == {"allow": True, "variant": None, "reason": "STATIC"}
        assert steps["rollout"]["bucket"] == bucket_of("f:membership", "user:ada")
        assert steps["variant"]["variant"] == decision.variant
        assert decision.explanation["parts"][0]["text"] == "plan"

    def test_until_when_the_answer_stands(self) -> None:
        """`valid_until_ms` is the earliest end of a window or of the schedule; NEVER where no change will come."""
        in_days = "days_since(if(plan == 'pro', '2026-09-01', '')) >= 10"
        catalogue = catalogue_of(
            ("f", in_days, {}), ("g", in_days, {"ends_at": "2026-09-10"}), ("h", "plan == 'x'", {})
        )
        ada = decider(catalogue, "user:ada", with_tree=True)

        until = [ada.decision(key).valid_until_ms for key in ("f", "g", "h")]

        assert until == [instant_ms("2026-09-11"), instant_ms("2026-09-10"), NoInstant.NEVER]

    def test_what_was_not_asked_is_not_told(self) -> None:
        """A decision has no explanation unless one is wanted, since that costs time."""
        decision = decided()

        assert (decision.explanation, decision.valid_until_ms) == (None, NoInstant.UNKNOWN)


def test_what_is_broken_answers_the_default() -> None:
    """A broken part gives ERROR, and the default of the flag if the flag is known."""
    flag = flag_of("f", settings_after("f", {}, {**BLUE_AND_RED, "default": "blue"}))

    assert answer_of(error_decision("Redis is away")) == (False, "ERROR", None, False)
    assert answer_of(error_decision("Redis is away", flag_of("f", {"default": True}))) == (True, "ERROR", None, True)
    assert answer_of(error_decision("Redis is away", flag)) == (False, "ERROR", "blue", "blue")
    assert error_decision("Redis is away").reasons == ["evaluation_error: Redis is away"]
