"""The steps of the protocol's world, how often a walk takes each, and the walk."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from expressions.rules.windows import DAY_MS, HOUR_MS
from tests.properties.protocol_truth import DEFINITIONS
from tests.properties.protocol_world import World

AGES_MS = (None, 0, 1, -1, -HOUR_MS, HOUR_MS - 1, HOUR_MS, 2 * HOUR_MS, DAY_MS, 3 * DAY_MS)
TICKS_MS = (1, 1, HOUR_MS - 1, HOUR_MS, DAY_MS - 1, DAY_MS)
KINDS = ("buy", "buy", "view", "identify")
DRAIN_STEPS = ("checked", "read", "before_write", "after_write", "trimmed")

#: How many runs hypothesis makes of the state machine, and how many seeds each kind of long walk has.
RUNS = int(os.environ.get("TINYCDP_PROTOCOL_RUNS", "2"))
SEEDS = max(1, RUNS * 2 // 5)

#: How often a walk takes a step, and how it draws what the step needs.
Step: TypeAlias = tuple[int, Callable[[random.Random], Sequence[Any]]]

STEPS: dict[str, Step] = {
    "send": (32, lambda r: (r.randrange(5), r.choice(KINDS), r.choice(AGES_MS))),
    "resend": (16, lambda r: ([r.randrange(500) for _ in range(r.randint(1, 3))],)),
    "send_together": (6, lambda r: (r.randrange(3), r.randrange(2), r.choice(KINDS[:3]))),
    "alias": (2, lambda r: (r.randrange(3), r.randrange(3))),
    "unlink": (3, lambda r: (r.randrange(5),)),
    "delete_person": (2, lambda r: (r.randrange(5),)),
    "tick": (8, lambda r: (r.choice(TICKS_MS),)),
    "import_history": (1, lambda r: (r.randrange(5), r.randint(1, 3), r.choice(AGES_MS[5:]))),
    "drain": (12, lambda r: (r.randint(2, 9), r.choice((None, None, None, *DRAIN_STEPS)))),
    "drain_twice": (2, lambda r: (r.randint(2, 9), r.choice(DRAIN_STEPS))),
    "build": (6, lambda r: (r.choice((None, None, None, [r.randrange(5), r.randrange(5)])),)),
    "publish": (22, lambda r: (r.randrange(9), r.randrange(9), r.random() < 0.3)),
    "finish": (4, lambda r: (r.randrange(9),)),
    "take_backup": (3, lambda r: ()),
    "rewind": (3, lambda r: ()),
    "wipe": (1, lambda r: ()),
    "recover": (8, lambda r: (r.choice((None, None, r.randint(1, 6))),)),
    "define": (3, lambda r: (r.choice(list(DEFINITIONS)),)),
    "undefine": (1, lambda r: (r.choice(list(DEFINITIONS)),)),
    "ingest_by_old_definitions": (1, lambda r: (r.randrange(5),)),
}

#: The same where files of history come often, and apps send what was in them.
WITH_IMPORTS: dict[str, Step] = STEPS | {
    "tick": (20, STEPS["tick"][1]),
    "import_history": (8, STEPS["import_history"][1]),
    "finish": (10, STEPS["finish"][1]),
    "resend_imported": (24, lambda r: (r.randrange(500),)),
    "undo_import": (5, lambda r: (r.randrange(9), r.choice((None, None, *range(1, 6))), r.random() < 0.5)),
}


#: Such steps come so many times as often, where a walk favours them.
FAVOUR = 5


def walk(
    world: World,
    seed: int,
    steps: int,
    favour: Collection[str] = (),
    without: Collection[str] = (),
    known: Mapping[str, Step] = STEPS,
) -> Iterator[str]:
    """A random walk, the same for the same seed; gives each step just before it is taken and checked."""
    chance = random.Random(seed)
    names = list(known)
    weights = [known[name][0] * (FAVOUR if name in favour else name not in without) for name in names]
    for _ in range(steps):
        (name,) = chance.choices(names, weights)
        arguments = known[name][1](chance)
        yield f"{name}{tuple(arguments)}"
        getattr(world, name)(*arguments)
        world.check()
    yield "settle()"
    world.settle()
