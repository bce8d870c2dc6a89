"""The protocol as a state machine: whatever happens, in whatever order, every id answers what brute force says.

The rules are the steps of `protocol_world`, on a real Redis and a real Delta table; after each of them every id is read
and compared. `protocol_walk` says how many runs there are.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from cli.embedded_redis import EmbeddedRedis
from tests.properties.protocol_truth import DEFINITIONS, IDS, USERS
from tests.properties.protocol_walk import AGES_MS, DRAIN_STEPS, KINDS, RUNS, SEEDS, TICKS_MS, WITH_IMPORTS, walk
from tests.properties.protocol_world import World

STEPS = 50
#: The last two once found what the others did not.
WALKS = sorted({*range(SEEDS), 217, 241})
WALK_STEPS = 120

someone = st.integers(0, len(IDS) - 1)
some_user = st.integers(0, len(USERS) - 1)
some_rows = st.integers(2, 9)
some_number = st.integers(0, 8)


def machine(server: EmbeddedRedis, folder: Path, light_events_max: int) -> type[RuleBasedStateMachine]:
    """The machine over one server; each run has a lake of its own."""

    class Protocol(RuleBasedStateMachine):
        """One run of the world."""

        def __init__(self) -> None:
            super().__init__()
            self.world = World(server, Path(mkdtemp(dir=folder)), light_events_max)

        @rule(whose=someone, kind=st.sampled_from(KINDS), age_ms=st.sampled_from(AGES_MS))
        def send(self, whose: int, kind: str, age_ms: int | None) -> None:
            """A new event, of any age."""
            self.world.send(whose, kind, age_ms)

        @rule(whose=someone, kind=st.sampled_from(KINDS))
        def send_now(self, whose: int, kind: str) -> None:
            """Most events are new, and there are many."""
            self.world.send(whose, kind, 0)

        @rule(which=st.lists(st.integers(0, 99), min_size=1, max_size=3))
        def resend(self, which: list[int]) -> None:
            """Events that came before, in one call."""
            self.world.resend(which)

        @rule(whose=some_user, device=st.integers(0, 1), kind=st.sampled_from(KINDS[:3]))
        def send_together(self, whose: int, device: int, kind: str) -> None:
            """An event of a user on a device."""
            self.world.send_together(whose, device, kind)

        @rule(whose=some_user, previous=some_user)
        def alias(self, whose: int, previous: int) -> None:
            """Two known users are one."""
            self.world.alias(whose, previous)

        @rule(whose=someone)
        def unlink(self, whose: int) -> None:
            """An id is a person of its own again."""
            self.world.unlink(whose)

        @rule(whose=someone)
        def delete_person(self, whose: int) -> None:
            """A person is deleted, by any id."""
            self.world.delete_person(whose)

        @rule(ms=st.sampled_from(TICKS_MS))
        def tick(self, ms: int) -> None:
            """Time goes on."""
            self.world.tick(ms)

        @rule(whose=someone, count=st.integers(1, 3), age_ms=st.sampled_from(AGES_MS[5:]))
        def import_history(self, whose: int, count: int, age_ms: int) -> None:
            """A file of history, twice."""
            self.world.import_history(whose, count, age_ms)

        @rule(which=some_number)
        def resend_imported(self, which: int) -> None:
            """An event that came with a file comes from an app."""
            self.world.resend_imported(which)

        @rule(rows=some_rows, killed_at=st.none() | st.sampled_from(DRAIN_STEPS))
        def drain(self, rows: int, killed_at: str | None) -> None:
            """A round of the drain, perhaps killed."""
            self.world.drain(rows, killed_at)

        @rule(rows=some_rows, paused_at=st.sampled_from(DRAIN_STEPS))
        def drain_twice(self, rows: int, paused_at: str) -> None:
            """Two drains at once."""
            self.world.drain_twice(rows, paused_at)

        @rule(whose=st.none() | st.lists(someone, min_size=1, max_size=2))
        def build(self, whose: list[int] | None) -> None:
            """A rebuild that has published nothing yet."""
            self.world.build(whose)

        @rule(which=some_number, record=some_number, repeat=st.booleans())
        def publish(self, which: int, record: int, repeat: bool) -> None:
            """One record of any of them, whatever was published since."""
            self.world.publish(which, record, repeat)

        @rule(whose=someone, which=some_number, record=some_number)
        def read_between(self, whose: int, which: int, record: int) -> None:
            """A read of several records, with publishes between them."""
            self.world.read_between(whose, which, record)

        @rule(which=some_number)
        def finish(self, which: int) -> None:
            """The rest of one, and its end."""
            self.world.finish(which)

        @rule()
        def take_backup(self) -> None:
            """A copy of Redis."""
            self.world.take_backup()

        @rule(kept=st.booleans(), killed_at=st.none() | st.integers(1, 6))
        def lose(self, kept: bool, killed_at: int | None) -> None:
            """Redis comes back empty, or as it was at the copy; recovery begins and is perhaps killed."""
            if kept:
                self.world.rewind()
            else:
                self.world.wipe()
            self.world.recover(killed_at)

        @rule()
        def recover(self) -> None:
            """Recovery runs through."""
            self.world.recover()

        @rule(key=st.sampled_from(sorted(DEFINITIONS)))
        def define(self, key: str) -> None:
            """A definition is saved."""
            self.world.define(key)

        @rule(key=st.sampled_from(sorted(DEFINITIONS)))
        def undefine(self, key: str) -> None:
            """A definition is deleted."""
            self.world.undefine(key)

        @rule(whose=someone)
        def ingest_by_old_definitions(self, whose: int) -> None:
            """A process with older definitions is sent back."""
            self.world.ingest_by_old_definitions(whose)

        @invariant()
        def holds(self) -> None:
            """Every id answers what brute force says."""
            self.world.check()

        def teardown(self) -> None:
            """In the end nothing is warming, and the lake has each seq once."""
            try:
                self.world.settle()
            finally:
                self.world.close()

    return Protocol


@pytest.mark.deep(kept=1)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("light_events_max", [256, 2])
def test_every_order_of_steps_leaves_answers_right(
    server: EmbeddedRedis, tmp_path: Path, light_events_max: int
) -> None:
    """Hypothesis chooses the steps, and shrinks what fails (D-18)."""
    run_state_machine_as_test(
        machine(server, tmp_path, light_events_max),
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.deep(kept=1)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", WALKS)
def test_long_walks_leave_answers_right(server: EmbeddedRedis, tmp_path: Path, seed: int) -> None:
    """Steps weighted as they come in life go further than a search for small counterexamples does."""
    world = World(server, tmp_path, 256 if seed % 2 else 2)
    taken: list[Any] = []
    try:
        taken += walk(world, seed, WALK_STEPS)
    finally:
        world.close()
    assert len(taken) == WALK_STEPS + 1


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_long_walks_over_imports_leave_answers_right(server: EmbeddedRedis, tmp_path: Path, seed: int) -> None:
    """Imported events are sent, logged events are imported, and days go by."""
    world = World(server, tmp_path, 256 if seed % 2 else 2)
    try:
        for _ in walk(world, seed, WALK_STEPS, known=WITH_IMPORTS):
            pass
    finally:
        world.close()
