"""Flags over HTTP: saved, refused where they contradict themselves or others, asked one by one or many at once."""

from __future__ import annotations

from typing import Any

import pytest

from expressions.rules.bucketing import bucket_of
from tests.running import RunningStack
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")

SIZES = [{"name": "small", "weight": 1, "value": {"items": 3}}, {"name": "large", "weight": 1, "value": {"items": 9}}]


@pytest.fixture(scope="module")
def flags(stack: RunningStack) -> RunningStack:
    """A stack with flags of each sort."""
    stack.define("trait", "flag_orders", "events.flag_order.count_30d")
    stack.define("flag", "plain", "flag_orders >= 1")
    stack.define("flag", "sized", "true", variants=SIZES, users={"ada": "large"})
    stack.define("flag", "after_plain", "true", prerequisites=[{"flag": "plain"}])
    stack.define("flag", "cached", "flag_orders >= 0", cache_seconds=30)
    wait_until(lambda: not stack.traits("nobody")["warming"], "definitions settle")
    return stack


def change(stack: RunningStack, key: str, **fields: Any) -> dict[str, Any]:
    """Changes a flag, which must be accepted."""
    answer = stack.call("PUT", f"/v1/admin/flags/{key}", json=fields)
    assert answer.status_code == 200, answer.text
    flag: dict[str, Any] = answer.json()["flag"]
    return flag


def decide_many(stack: RunningStack, body: Any, **more: Any) -> Any:
    """Many flags at once."""
    return stack.call("POST", "/v1/decide", "read", json=body, **more)


class TestSaving:
    def test_a_flag_of_key_and_rule_answers_as_ever(self, flags: RunningStack) -> None:
        """The decision of a plain flag has no fields that only other flags need."""
        plain = flags.decide("plain-user", "plain")

        assert list(plain) == ["allow", "variant", "value", "reasons", "reason", "userId", "flag", "asof"]
        assert (plain["allow"], plain["variant"], plain["value"], plain["reason"]) == (False, None, False, "DEFAULT")

    def test_a_flag_without_a_rule_is_for_everybody(self, flags: RunningStack) -> None:
        """Rollout and variants need no rule."""
        assert flags.call("POST", "/v1/admin/flags", json={"key": "no_rule"}).json()["flag"]["rule"] == "true"
        assert flags.decide("anybody", "no_rule")["reason"] == "STATIC"

    def test_what_is_saved_is_shown(self, flags: RunningStack) -> None:
        """Every field comes back, with defaults where none was sent."""
        flag = flags.call("GET", "/v1/admin/flags/sized").json()["flag"]

        assert flag["variants"] == SIZES
        assert (flag["rollout"], flag["salt"], flag["bucket_by"]) == (100, "sized", "userId")
        assert (flag["enabled"], flag["default"], flag["users"]) == (True, False, {"ada": "large"})
        assert "intervals" not in flag

    def test_a_change_leaves_what_it_does_not_name(self, flags: RunningStack) -> None:
        """A switch is one field; null takes a setting back."""
        flags.define("flag", "changing", "flag_orders >= 0", rollout=5, owner="growth", ends_at="2199-01-01")

        off = change(flags, "changing", enabled=False)
        assert (off["rule"], off["rollout"], off["owner"], off["enabled"]) == ("flag_orders >= 0", 5, "growth", False)
        back = change(flags, "changing", rollout=None, ends_at=None, enabled=True)
        assert (back["rollout"], back["ends_at"]) == (100, None)
        assert flags.decide("anybody", "changing")["allow"] is True
        empty = change(flags, "changing", rule=None, owner=None, tags=None, description=None)
        assert (empty["rule"], empty["owner"], empty["tags"], empty["description"]) == ("true", "", [], "")

    def test_a_moved_weight_keeps_the_others(self, flags: RunningStack) -> None:
        """From 50:50 to 75:25 only half of large moves, all of it to small; a rollback brings them back."""
        first = flags.define("flag", "weighed", "true", variants=SIZES)
        users = [f"w{n}" for n in range(60)]

        def variants() -> dict[str, str]:
            return {user: flags.decide(user, "weighed")["variant"] for user in users}

        before = variants()
        change(flags, "weighed", variants=[SIZES[0] | {"weight": 3}, SIZES[1]])
        after = variants()
        flags.call("POST", "/v1/admin/flags/weighed/rollback", json={"version": first["version"]})

        moved = {user for user in users if before[user] != after[user]}
        assert moved == {user for user in users if bucket_of("weighed:variant", f"user:{user}") >= 75_000}
        assert {after[user] for user in moved} == {"small"}
        assert variants() == before

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"rollout": 101}, "rollout"),
            ({"rollout": "half"}, "rollout"),
            ({"cache_seconds": 61}, "cache_seconds"),
            ({"variants": [{"name": "a"}, {"name": "a"}]}, "variants[1].name"),
            ({"variants": [{"name": "a", "weight": 0}]}, "variants"),
            ({"variants": [{"name": "a", "weight": -1}]}, "variants.0.weight"),
            ({"variants": [{"name": " "}]}, "variants[0].name"),
            ({"variants": [{"name": "a", "value": "x" * 9_000}]}, "variants[0].value"),
            ({"variants": SIZES, "default": "medium"}, "default"),
            ({"variants": SIZES, "default": True}, "default"),
            ({"variants": SIZES, "users": {"ada": "medium"}}, "users.ada"),
            ({"users": {" ": True}}, "users"),
            ({"starts_at": "tomorrow"}, "starts_at"),
            ({"starts_at": "2026-01-02", "ends_at": "2026-01-02"}, "ends_at"),
            ({"bucket_by": "shoe size"}, "bucket_by"),
            ({"bucket_by": "trait:unknown"}, "bucket_by"),
            ({"prerequisites": [{"flag": "unknown"}]}, "prerequisites"),
            ({"prerequisites": [{"flag": "plain", "variant": "small"}]}, "prerequisites"),
            ({"prerequisites": [{"flag": "refused"}]}, "prerequisites"),
            ({"rule": " "}, "rule"),
        ],
    )
    def test_what_cannot_stand_is_refused_by_name(
        self, flags: RunningStack, fields: dict[str, Any], field: str
    ) -> None:
        """400 names the field, the value and the remedy, and nothing is saved."""
        answer = flags.call("POST", "/v1/admin/flags", json={"key": "refused", "rule": "true", **fields})

        assert (answer.status_code, answer.json()["details"]["field"]) == (400, field), answer.text
        assert answer.json()["details"]["remedy"]
        assert flags.call("GET", "/v1/admin/flags/refused").status_code == 404

    @pytest.mark.deep(kept=1)
    @pytest.mark.parametrize("key", ["new-checkout", "shop.checkout.v2", "_-.", "a" * 199 + "-"])
    def test_a_key_of_another_system_is_taken(self, flags: RunningStack, key: str) -> None:
        """Hyphens and dots stand in a flag's key: it is saved, asked in each way, needed, explained and deleted."""
        flags.define("flag", key, f'bucket("{key[:80]}:membership") >= 0', description="moved")
        flags.define("flag", "needs_what_moved", "true", prerequisites=[{"flag": key}])
        (decision,) = decide_many(flags, {"userId": "ada", "flags": [key]}).json()["decisions"]
        ofrep = flags.call(
            "POST", f"/ofrep/v1/evaluate/flags/{key}", "read", json={"context": {"targetingKey": "ada"}}
        ).json()

        assert (decision["flag"], decision["allow"]) == (key, True)
        assert flags.decide("ada", key, explain="true")["explanation"]["key"] == key
        assert (ofrep["key"], ofrep["value"]) == (key, True)
        assert flags.decide("ada", "needs_what_moved")["allow"]
        assert flags.json("explain", "ada", f"flag:{key}")["decision"]["flag"] == key
        assert flags.call("GET", f"/v1/admin/flags/{key}/history").json()["versions"][0]["expression"]
        assert flags.call("GET", f"/v1/admin/flags/{key}/people").status_code == 200
        assert key in flags.call("DELETE", f"/v1/admin/flags/{key}").json()["message"], "another flag needs it"
        for one in ("needs_what_moved", key):
            assert flags.call("DELETE", f"/v1/admin/flags/{one}").status_code == 200
        assert flags.call("GET", f"/v1/admin/flags/{key}").status_code == 404

    def test_prerequisites_make_no_circle(self, flags: RunningStack) -> None:
        """The change that would close a circle is refused, and the refusal names the flags on it."""
        answer = flags.call("PUT", "/v1/admin/flags/plain", json={"prerequisites": [{"flag": "after_plain"}]})

        assert answer.status_code == 400
        assert "plain needs after_plain needs plain" in answer.json()["message"]

    def test_what_others_need_stays(self, flags: RunningStack) -> None:
        """A flag, a trait or a variant that another flag needs is not deleted."""
        flags.define("trait", "flag_company", "profile.company")
        flags.define("flag", "by_company", "true", rollout=50, bucket_by="trait:flag_company")
        flags.define("flag", "after_large", "true", prerequisites=[{"flag": "sized", "variant": "large"}])

        for path, user in (("flags/plain", "flag 'after_plain'"), ("traits/flag_company", "flag 'by_company'")):
            answer = flags.call("DELETE", f"/v1/admin/{path}")
            assert (answer.status_code, answer.json()["details"]["used_by"]) == (409, [user])
        answer = flags.call("PUT", "/v1/admin/flags/sized", json={"variants": SIZES[:1], "users": None})
        assert (answer.status_code, answer.json()["details"]["field"]) == (400, "variants")


class TestDeciding:
    def test_many_flags_with_one_question(self, flags: RunningStack) -> None:
        """Each decision is that of a single question, all as of one moment; an unknown flag is an error of its own.

        D-35: each took requests of its own.
        """
        body = decide_many(flags, {"userId": "ada", "flags": ["sized", "plain", "unknown", "sized"]}).json()

        assert [decision["flag"] for decision in body["decisions"]] == ["sized", "plain", "unknown"]
        assert [decision["reason"] for decision in body["decisions"]] == ["TARGETING_MATCH", "DEFAULT", "ERROR"]
        assert body["decisions"][0] | {"asof": body["asof"]} == flags.decide("ada", "sized") | {"asof": body["asof"]}
        assert body["decisions"][2]["reasons"] == ["evaluation_error: Flag 'unknown' not found"]
        assert body["userId"] == "ada"

    def test_all_flags_where_none_are_named(self, flags: RunningStack) -> None:
        """The answer has every flag of the catalogue, by key."""
        saved = [flag["key"] for flag in flags.call("GET", "/v1/admin/flags").json()["flags"]]

        assert [decision["flag"] for decision in decide_many(flags, {"deviceId": "d1"}).json()["decisions"]] == saved
        assert decide_many(flags, {"deviceId": "d1", "flags": []}).json()["decisions"] == []

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ([], "body"),
            ({}, "userId"),
            ({"userId": True}, "userId"),
            ({"userId": "u", "flags": "plain"}, "flags"),
            ({"userId": "u", "flags": [""]}, "flags[0]"),
            ({"userId": "u", "flags": ["x"] * 1_001}, "flags"),
            ({"userId": "u", "explain": "yes"}, "explain"),
        ],
    )
    def test_a_question_that_is_none(self, flags: RunningStack, body: Any, field: str) -> None:
        """The refusal is 400 and names the field."""
        answer = decide_many(flags, body)

        assert (answer.status_code, answer.json()["details"]["field"]) == (400, field)

    def test_every_kind_of_id_asks(self, flags: RunningStack) -> None:
        """A user id, a device and an email hash may ask; linked ids get the answer of their person."""
        flags.define("flag", "half", "true", rollout=50)
        for n in range(20):
            body = {"userId": f"linked{n}", "anonymousId": f"device{n}", "event": "flag_visit"}
            assert flags.call("POST", "/v1/track", "write", json=body).status_code == 200
            answers = {
                flags.call("GET", "/v1/decide", "read", params={**ids, "flag": "half"}).json()["allow"]
                for ids in ({"userId": f"linked{n}"}, {"anonymousId": f"device{n}"}, {"deviceId": f"device{n}"})
            }
            assert answers == {bucket_of("half:membership", f"user:linked{n}") < 50_000}
        email = flags.call("GET", "/v1/decide", "read", params={"emailHash": "ABC1", "flag": "half"}).json()
        assert email["allow"] is (bucket_of("half:membership", "email:abc1") < 50_000)

    def test_why_and_until_when(self, flags: RunningStack) -> None:
        """`explain` tells each step, and the instant before which time alone changes nothing."""
        flags.track("why-flag", "flag_order", messageId="why-flag-1")
        single = flags.decide("why-flag", "after_plain", explain="true")

        assert [step["step"] for step in single["explanation"]["steps"]] == ["prerequisite", "rule"]
        assert single["valid_until"] is not None
        body = {"userId": "why-flag", "flags": ["after_plain"], "explain": True}
        many = decide_many(flags, body).json()["decisions"][0]
        assert many["valid_until"] == single["valid_until"]

    def test_an_answer_that_is_held_is_not_sent_again(self, flags: RunningStack) -> None:
        """The answer is 304 until the person sends something or the flag is changed, for many flags too."""
        single = ("GET", {"params": {"userId": "held", "flag": "plain"}})
        many = ("POST", {"json": {"userId": "held", "flags": ["plain", "sized"]}})
        for n, (method, more) in enumerate((single, many)):
            first = flags.call(method, "/v1/decide", "read", **more)
            headers = {"If-None-Match": first.headers["etag"]}
            assert first.headers["cache-control"] == "private, no-cache"
            again = flags.call(method, "/v1/decide", "read", headers=headers, **more)
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
            flags.track("held", "flag_order", messageId=f"held-{n}")
            after = flags.call(method, "/v1/decide", "read", headers=headers, **more)
            assert (after.status_code, after.headers["etag"] != first.headers["etag"]) == (200, True)
            change(flags, "plain", description=f"changed {n}")
            headers = {"If-None-Match": after.headers["etag"]}
            assert flags.call(method, "/v1/decide", "read", headers=headers, **more).status_code == 200

    def test_only_who_asks_for_it_is_cached(self, flags: RunningStack) -> None:
        """`cache_seconds` is the answer's max-age, never beyond the flag's schedule; of many, the least one is."""

        def kept(key: str) -> str:
            return flags.call("GET", "/v1/decide", "read", params={"userId": "c", "flag": key}).headers["cache-control"]

        def kept_together(*keys: str) -> str:
            body = {"userId": "c", "flags": keys}
            return flags.call("POST", "/v1/decide", "read", json=body).headers["cache-control"]

        flags.define("flag", "cached_longer", "true", cache_seconds=60)
        assert kept("cached") == "private, max-age=30"
        assert kept_together("cached") == kept_together("cached", "cached_longer") == "private, max-age=30"
        assert kept_together("cached", "plain") == kept_together("cached", "unknown") == "private, no-cache"
        change(flags, "cached", starts_at="2199-01-01")
        assert kept("cached") == "private, max-age=30"
        change(flags, "cached", starts_at=None, cache_seconds=0)
        assert kept("cached") == "private, no-cache"

    def test_a_change_is_live_in_the_next_decision(self, flags: RunningStack) -> None:
        """No process answers with a flag that was changed before; a deleted one is not found (D-8)."""
        flags.define("flag", "switched", "true")
        for enabled in (False, True):
            change(flags, "switched", enabled=enabled)
            assert flags.decide("anybody", "switched")["allow"] is enabled
        assert flags.call("DELETE", "/v1/admin/flags/switched").status_code == 200
        assert flags.decide("anybody", "switched")["code"] == "not_found"
