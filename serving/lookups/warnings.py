"""Warnings about a definition (S9): comparisons that can never hold, and names that were never seen.

The names that it reads are compared with those in the lake.

A name that nobody has sent may be right, since definitions may come before events; more often it is a slip. So a
warning comes once, with the answer that saves or checks the definition, and never refuses it. Where the lake is away,
takes longer than `WAITED_S` to answer, or cannot be asked, there are no warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from anyio import move_on_after

from expressions.definitions import Bound
from expressions.ops import Aggregation, Attribute, walk
from expressions.text.bind import Known, warnings_of
from expressions.text.contradictions import contradictions
from serving.engine import Engine
from serving.lookups.vocabulary import seen, vocabulary
from serving.lookups.worker import in_worker, in_worker_or_none
from serving.refusals import Unavailable

#: How long a definition's answer waits for the names.
WAITED_S = 3.0
#: How long the question may take: who comes meanwhile gets its answer, or that of the next.
ASKED_S = 10.0


async def warnings(engine: Engine, bound: Bound) -> list[str]:
    """Everything that a definition is warned of."""
    return [*contradictions(bound), *await unseen(engine, bound)]


async def unseen(engine: Engine, bound: Bound) -> list[str]:
    """Warnings of unseen names that a definition reads, with the nearest known ones; none where none can be told."""
    nodes = list(walk(bound.written))
    events = {node.source.event for node in nodes if isinstance(node, Aggregation) and node.source.event is not None}
    attributes = any(isinstance(node, Attribute) for node in nodes)
    if not events and not attributes:
        return []

    known_names = engine.vocabulary.last
    if known_names is not None and are_seen(bound, known_names):
        return []

    async def ask(wanted: set[str | None]) -> Known | None:
        of_events = sorted(name for name in wanted if name is not None)
        with move_on_after(ASKED_S):
            answer = await _seen(engine, of_events, None in wanted)
            if answer is None:
                return None
            properties, names = answer
            return Known({event: frozenset(of_event) for event, of_event in properties.items()}, frozenset(names))
        return None

    with move_on_after(WAITED_S):  # those who save together ask once: one after the other they would wait for long
        known = await engine.names.of([*events, *([None] if attributes else [])], ask)
        return [] if known is None else list(dict.fromkeys(warnings_of(bound.written, known)))
    return []


def are_seen(bound: Bound, vocabulary: Mapping[str, Any]) -> bool:
    """Whether all names that a definition reads are in a vocabulary. It lacks some names, and has none that was never
    seen. So what it has need not be looked for in the whole lake.
    """
    events = {event["name"]: frozenset(one["name"] for one in event["properties"]) for event in vocabulary["events"]}
    attributes = frozenset(attribute["key"] for attribute in vocabulary["attributes"])
    return next(warnings_of(bound.written, Known(events, attributes)), None) is None


async def seen_in_lake(engine: Engine) -> dict[str, Any]:
    """The vocabulary, read now by a process beside this one."""
    return await in_worker(vocabulary, await engine.source(), engine.clock_ms())


async def warm(engine: Engine) -> None:
    """Asks once before anybody does: a process that imports our packages and opens the lake takes a second."""
    await _seen(engine, [], False)


async def _seen(engine: Engine, events: list[str], attributes: bool) -> tuple[dict[str, list[str]], list[str]] | None:
    """The names by `vocabulary.seen`; None while Redis is away, which tells whose lake is read, or the lake is."""
    with suppress(Unavailable):
        return await in_worker_or_none(seen, await engine.source(), events, attributes)
    return None
