"""A flag that is sent back as it was read is the same flag: no user moves, and there is no new version."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.wire.definitions import wire_definition
from serving.api.wire.flags import FlagChange, FlagOut
from serving.definitions.catalogue import StoredDefinition
from serving.definitions.flags import CHAIN_MAX, Flag, check_names, flag_of, settings_after
from serving.refusals import Invalid
from tests.chance import seeded
from tests.running import RunningStack
from tests.waiting import wait_until

KEY = "banner"
VARIANTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcd"), "weight": st.sampled_from([0, 1, 1.0, 2.5, 70])},
        optional={"value": st.sampled_from([False, 1, "x", {"colour": "#00f"}])},
    ),
    unique_by=lambda variant: variant["name"],
).filter(lambda variants: not variants or any(variant["weight"] for variant in variants))
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.sampled_from([True, False, None]),
        "variants": VARIANTS,
        "rollout": st.sampled_from([0, 12.345, 50.0, 100, 100.0]),
        "salt": st.sampled_from([KEY, "other", None]),
        "bucket_by": st.sampled_from(["userId", "deviceId", "trait:plan"]),
        "starts_at": st.sampled_from(["2026-01-01", None]),
        "ends_at": st.sampled_from(["2027-01-01T12:00:00+02:00", None]),
        "prerequisites": st.sampled_from([[], [{"flag": "x"}], [{"flag": "x", "variant": None}]]),
        "users": st.sampled_from([{}, {"ada": True, "anon:7": False}]),
        "cache_seconds": st.sampled_from([0, 60]),
        "description": st.sampled_from(["", "a banner"]),
        "tags": st.sampled_from([[], ["shop"]]),
    },
)


def sent_back(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of a change that a client makes of the flag as it read it."""
    stored = StoredDefinition(kind="flag", key=KEY, expression="true", settings=settings)
    return FlagChange.model_validate(FlagOut.model_validate(wire_definition(stored)).model_dump()).settings()


@seeded
@given(first=SETTINGS, then=SETTINGS)
def test_a_flag_that_is_sent_back_is_the_same(first: dict[str, Any], then: dict[str, Any]) -> None:
    """Whatever its settings were made by, each bucket keeps its variant and each setting its value."""
    settings: dict[str, Any] = {}
    for change in (first, then):
        settings = settings_after(KEY, settings, change)

        back = settings_after(KEY, settings, sent_back(settings))

        assert flag_of(KEY, back) == flag_of(KEY, settings)
        assert {name: value for name, value in back.items() if value not in ("", [])} == {
            name: value for name, value in settings.items() if value not in ("", [])
        }


SET: dict[str, Any] = {
    "enabled": False,
    "default": "a",
    "variants": [{"name": "a", "weight": 1.0, "value": "a"}],
    "rollout": 5,
    "salt": "other",
    "bucket_by": "deviceId",
    "starts_at": "2026-01-01",
    "ends_at": "2027-01-01",
    "prerequisites": [{"flag": "x"}],
    "users": {"ada": True},
    "cache_seconds": 60,
    "description": "a banner",
    "owner": "growth",
    "tags": ["shop"],
}


@pytest.mark.parametrize("name", sorted(set(FlagChange.model_fields) - {"rule", "note"}))
def test_null_takes_any_setting_back(name: str) -> None:
    """It is then as if it had never been sent. (A variant that is the default goes with the default.)"""
    settings = settings_after(KEY, {}, SET)
    assert name in settings
    nulls = {name: None} | ({"default": None} if name == "variants" else {})

    after = settings_after(KEY, settings, FlagChange.model_validate(nulls).settings())

    assert set(settings) - set(after) == set(nulls) | ({"intervals"} if name == "variants" else set())


@pytest.mark.parametrize("users", [{"ada": True, "user:ada": False}, {"user:ada": True, "ada": True}])
def test_a_user_is_named_once(users: dict[str, bool]) -> None:
    """An id with and without its kind is one user, and one of two answers would be dropped."""
    with pytest.raises(Invalid, match="name each user once"):
        settings_after(KEY, {}, {"users": users})


@pytest.mark.parametrize("rollout", [12.3456, 0.0001, 99.99999, 33.3330000001, 100 / 3])
def test_a_rollout_finer_than_a_bucket_is_refused(rollout: float) -> None:
    """There are 100,000 buckets: a percentage has three decimals, and no more of it would hold."""
    with pytest.raises(Invalid, match="three decimals"):
        settings_after(KEY, {}, {"rollout": rollout})


@pytest.mark.parametrize("rollout", [0, 0.001, 33.333, 57.3, 99.999, 100])
def test_a_rollout_of_three_decimals_is_taken(rollout: float) -> None:
    """Whatever the float nearest to it is."""
    assert settings_after(KEY, {}, {"rollout": rollout}).get("rollout", 100) == rollout


@pytest.mark.parametrize(("name", "old"), [("rollout", 12.34567), ("users", {"ada": True, "user:ada": False})])
def test_a_setting_that_was_taken_once_does_not_hold_up_the_switch(name: str, old: Any) -> None:
    """A flag that an older version saved is turned off; the setting is refused once it is sent as another one."""
    after = settings_after(KEY, {name: old}, {"enabled": False})

    assert (after["enabled"], after[name]) == (False, old)
    assert settings_after(KEY, {name: old}, sent_back({name: old}))[name] == old
    with pytest.raises(Invalid):
        settings_after(KEY, {name: old}, {name: {**old, "bob": True} if name == "users" else 0.00001})


def chain(*keys: str) -> dict[str, Flag]:
    """Flags of which each needs the next."""
    needs = {key: {"prerequisites": [{"flag": following}]} for key, following in pairwise(keys)}
    return {key: flag_of(key, needs.get(key, {})) for key in keys}


@pytest.mark.parametrize("joined", [0, 1, 16, 30, 31])
def test_flags_need_each_other_in_a_bounded_row(joined: int) -> None:
    """A chain of 32 flags is taken, one of 33 is refused, wherever in it the flag stands that makes it so long."""
    keys = [f"f{number}" for number in range(CHAIN_MAX + 1)]

    check_names(keys[joined], chain(*keys[:CHAIN_MAX]), ())
    with pytest.raises(Invalid, match="a chain of 33 flags"):
        check_names(keys[joined], chain(*keys), ())


@pytest.mark.deep(kept=1)
@pytest.mark.xdist_group("stack")
@pytest.mark.parametrize("kind", ["trait", "segment", "flag"])
def test_a_definition_that_is_sent_back_as_it_was_read_makes_no_new_version(stack: RunningStack, kind: str) -> None:
    """GET, then PUT of what was read: the same version, nothing in its history, the same answer for everybody."""
    more = {"variants": [{"name": "a"}, {"name": "b", "weight": 2}]} if kind == "flag" else {}
    expression = "events.sent_back.count" if kind == "trait" else "events.sent_back.count >= 0"
    stack.define(kind, f"sent_back_{kind}", expression, **more)
    path = f"/v1/admin/{kind}s/sent_back_{kind}"
    before = stack.call("GET", path).json()[kind]
    users = [f"u{number}" for number in range(20)]
    if kind == "flag":  # else its answers may change when its definition is ready
        wait_until(lambda: stack.decide("u0", "sent_back_flag")["reason"] == "SPLIT", "the flag is ready")
    answers = [stack.decide(user, f"sent_back_{kind}") for user in users] if kind == "flag" else []

    after = stack.call("PUT", path, json=before).json()[kind]

    assert after == {**before, "warnings": after["warnings"]}
    assert len(stack.call("GET", f"{path}/history").json()["versions"]) == 1
    if kind == "flag":
        again = [stack.decide(user, f"sent_back_{kind}") for user in users]
        assert [answer["variant"] for answer in again] == [answer["variant"] for answer in answers]
