"""A person in detail: when each value changes next, whose each id is since when, and all flags with reasons."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import tinycdp

from expressions.definitions import Key
from expressions.live.changes import NoInstant
from serving.people.next_changes import next_changes
from serving.people.person import DecodedBases, person
from serving.store.records import Reading
from tests.running import RunningStack
from tests.serving.people.test_decide import catalogue_of
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("stack")


@pytest.mark.deep
def test_a_value_changes_next_when_its_event_leaves_the_window(stack: RunningStack) -> None:
    """To the millisecond, of a trait and of the segment on it; a value that only events change never does."""
    stack.define("trait", "next_hour", "events.next_seen.count_1h")
    stack.define("trait", "next_ever", "events.next_seen.count")
    stack.define("segment", "next_active", "next_hour >= 1")
    stack.track("next-ada", "next_seen")
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        wait_until(lambda: not admin.traits("next-ada")["warming"], "the definitions are ready")
        (event,) = admin.person_events("next-ada")["events"]
        detail = admin.user("next-ada")

    leaves = datetime.fromisoformat(event["ts"]) + timedelta(hours=1)
    traits = {trait["key"]: trait["nextChange"] for trait in detail["traits"]}
    segments = {segment["key"]: segment["nextChange"] for segment in detail["segments"]}
    assert datetime.fromisoformat(traits["next_hour"]) == leaves
    assert datetime.fromisoformat(segments["next_active"]) == leaves
    assert traits["next_ever"] == "never"


def test_an_id_says_whose_it_is_since_when_and_by_which_event(stack: RunningStack) -> None:
    """The person's own id comes first; a device has its owner, and the event that linked it."""
    stack.track("next-bob", "next_seen", deviceId="next-device", messageId="next-link")
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        own, device = admin.user("next-bob")["ids"]

    assert (own["id"], own["owner"]) == ("user:next-bob", None)
    assert (device["id"], device["owner"], device["event"]) == ("anon:next-device", "user:next-bob", "next-link")
    assert device["since"] is not None


def test_all_flags_of_a_person_with_reasons(stack: RunningStack) -> None:
    """Each flag answers as it does to an app; nothing of it is noted as activity."""
    stack.define("flag", "next_on", "true", users={"next-eve": False})
    stack.define("flag", "next_off", "true", enabled=False)
    stack.track("next-eve", "next_seen")
    with tinycdp.Admin(stack.stack.api_url, stack.keys["admin"]) as admin:
        found = {decision["flag"]: decision for decision in admin.decisions("next-eve")["decisions"]}
        with pytest.raises(tinycdp.NotFound):
            admin.decisions("next-nobody")

    for key in ("next_on", "next_off"):
        asked = stack.decide("next-eve", key)
        assert {name: found[key][name] for name in ("allow", "reason", "reasons", "value")} == {  # type: ignore[literal-required]
            name: asked[name] for name in ("allow", "reason", "reasons", "value")
        }
    assert "user(user:next-eve) = false" in found["next_on"]["reasons"]


def test_the_work_of_all_changes_has_a_bound() -> None:
    """One definition takes a part of it at most; those that nothing is left for are unknown, not wrong."""
    catalogue = catalogue_of(*((f"flag_{number}", "last_seen_days_ago > 3", {}) for number in range(40)))
    keys: list[Key] = [("flag", f"flag_{number}") for number in range(40)]
    nobody = person(Reading([], 1_000, 1), catalogue, DecodedBases())

    assert set(next_changes(nobody, keys).values()) == {NoInstant.NEVER}
    little = next_changes(nobody, keys, work_max=100)
    assert little[keys[0]] is NoInstant.NEVER
    assert little[keys[-1]] is NoInstant.UNKNOWN
