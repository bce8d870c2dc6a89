"""How long sign-ins and links last, and how many there are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tinycdp import Unauthenticated

from dashboard import keyring as keyrings
from dashboard.keyring import IDLE_S_MAX, LINK_S_MAX, Keyring
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("console"), pytest.mark.timeout(240)]


class World:
    """A keyring whose clock the test sets."""

    def __init__(self, stack: RunningStack) -> None:
        self.now_s, self.key = 0.0, stack.keys["admin"]
        self.ring = Keyring(stack.stack.api_url, lambda: self.now_s)


@pytest.fixture
def world(console: RunningStack) -> Iterator[World]:
    """A keyring without sign-ins."""
    made = World(console)
    yield made
    made.ring.close()


def test_twelve_idle_hours_end_a_sign_in(world: World) -> None:
    """Use begins them anew; being looked up does not."""
    cookie = world.ring.sign_in(world.key)
    world.now_s = IDLE_S_MAX
    assert world.ring.find(cookie, is_used=True) is not None
    world.now_s = 2 * IDLE_S_MAX
    assert world.ring.find(cookie) is not None
    world.now_s += 1
    assert world.ring.find(cookie) is None


def test_a_link_works_once_and_for_an_hour(world: World) -> None:
    """The second use and the late one get nothing, and neither does an unknown one."""
    once, late = world.ring.link(world.key), world.ring.link(world.key)
    assert world.ring.take_link(once) == world.key
    world.now_s = LINK_S_MAX + 1
    assert [world.ring.take_link(secret) for secret in (once, late, "unknown")] == [None] * 3


def test_the_longest_idle_sign_in_makes_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound a new one ends the one that nobody used longest; links do likewise."""
    monkeypatch.setattr(keyrings, "SIGN_INS_MAX", 2)
    monkeypatch.setattr(keyrings, "LINKS_MAX", 1)
    first, second = world.ring.sign_in(world.key), world.ring.sign_in(world.key)
    assert world.ring.find(first, is_used=True) is not None
    third = world.ring.sign_in(world.key)
    assert [world.ring.find(cookie) is not None for cookie in (first, second, third)] == [True, False, True]
    older, newer = world.ring.link(world.key), world.ring.link(world.key)
    assert (world.ring.take_link(older), world.ring.take_link(newer)) == (None, world.key)


def test_a_key_that_the_api_refuses_makes_nothing(world: World) -> None:
    """Neither a sign-in nor a link."""
    with pytest.raises(Unauthenticated):
        world.ring.sign_in("unknown")
    with pytest.raises(Unauthenticated):
        world.ring.link("unknown")
