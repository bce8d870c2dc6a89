"""How many examples chance gives to a test, and the same ones each time: TINYCDP_EXAMPLES=200 asks for so many."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: Of a test that says nothing of its own; dear ones take a part of it. What the conformance table shows case by case
#: needs few here.
EXAMPLES = int(os.environ.get("TINYCDP_EXAMPLES", "20"))

#: So many examples are all that anybody asks for: a sample is then everybody.
EXAMPLES_OF_ALL = 200

#: However slow the machine is, a test is neither refused nor given other examples for it.
seeded = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def part_of(population: int) -> int:
    """How many of so many are looked at one by one: a part of them as the examples are of `EXAMPLES_OF_ALL`."""
    return -(-population * min(EXAMPLES, EXAMPLES_OF_ALL) // EXAMPLES_OF_ALL)


def part_of_examples(divisor: int) -> settings:
    """The settings of a dear test: one example for so many of a cheap one, and at least two."""
    return settings(seeded, max_examples=max(2, EXAMPLES // divisor))
