"""Decisions for one person with one read, whatever the protocol. A broken part gives defaults, not errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from expressions.definitions import Bound, Key
from expressions.live.explain import TURN_LEFT_OUT, unexplained
from serving.access.keys import APPLICATION_KINDS, Caller
from serving.api.beside import are_many
from serving.api.live_person import note_size, told_of
from serving.engine import Engine
from serving.ids import Ids, namespaced
from serving.lookups.live_people import explained, explained_large
from serving.lookups.worker import in_worker_or_none
from serving.people.decide import Decision, error_decision
from serving.people.decided import Decided, decided_bare
from serving.refusals import Refusal, Unavailable
from serving.store.base_codec import CodecError
from serving.store.deadlines import within
from serving.store.errors import StoreError

#: How long a decision waits for Redis. With the rest of an answer it is less than a second.
DECIDE_S = 0.8
#: How long a decision waits for the turn of its explanation, which people ask for.
EXPLAIN_S = 5.0


async def decisions(
    engine: Engine, caller: Caller, ids: Ids, keys: Sequence[str] | None, explain: bool = False
) -> Decided:
    """Decisions of these flags (None: of all) for the person whom the ids name; for nobody where they name none.

    Answers to apps, which have a read or a profile key, are what `serving.activity` tells of flags: people try them out
    with the other kinds.

    Defaults where Redis does not answer within `DECIDE_S`, and at once while it is known to be silent. An explanation
    that has no turn within `EXPLAIN_S` is left out.
    Raises `Unavailable` alone, and only when all flags are asked for and none are known.
    """
    id = next(iter(ids.strongest_first), None)
    device = None if ids.anonymous is None else namespaced("anon", ids.anonymous)
    decided = await _explained(engine, id, device, keys) if explain else None
    if decided is None:
        decided = await _decided(engine, id, device, keys)
        if explain and decided.asof and engine.catalogue is not None:
            decided = _unexplained(decided, engine.catalogue.bounds)
    _count(engine, caller, decided, keys)
    lacking = list(dict.fromkeys(id for decision in decided.decisions.values() for id in decision.lacking))
    if lacking:
        await engine.want_rebuild_of(lacking)
    return decided


@within(DECIDE_S)
async def _decided(engine: Engine, id: str | None, device: str | None, keys: Sequence[str] | None) -> Decided:
    """The decisions without explanations; defaults where the person cannot be read."""
    try:
        told, catalogue = await told_of(
            engine, id, lambda known: are_many(known.flags if keys is None else keys), decided_bare, device, keys
        )
    except (Refusal, StoreError, CodecError) as error:
        return _without_person(engine, keys, error)
    engine.tally.read(told.tails)
    return msgspec.structs.replace(told.said, flags=catalogue.flags)


@within(EXPLAIN_S)
async def _explained(engine: Engine, id: str | None, device: str | None, keys: Sequence[str] | None) -> Decided | None:
    """The decisions with explanations, from a process beside this one; None where there is none in time."""
    settings = engine.settings
    explain = explained_large if id in engine.large_ids else explained
    made = await in_worker_or_none(explain, str(settings.redis_url), settings.shards, id, device, keys)
    if made is None:
        return None
    if id is not None:
        note_size(engine, id, is_large=made.is_large)
    try:
        flags = (await engine.at_least(made.decided.asof["catalogue"])).flags
    except Refusal:  # Redis went away since
        return None
    trees = {key: msgspec.Raw(text) for key, text in made.explanations.items()}
    told = {
        key: msgspec.structs.replace(decision, explanation=trees.get(key))
        for key, decision in made.decided.decisions.items()
    }
    return msgspec.structs.replace(made.decided, decisions=told, flags=flags)


def _unexplained(decided: Decided, bounds: Mapping[Key, Bound]) -> Decided:
    """The same decisions, with the sentence that nobody had time to explain them."""

    def told(key: str, decision: Decision) -> Decision:
        bound = bounds.get(("flag", key))
        tree = None if bound is None else unexplained(bound, TURN_LEFT_OUT)
        return msgspec.structs.replace(decision, explanation=tree)

    by_flag = {key: told(key, decision) for key, decision in decided.decisions.items()}
    return msgspec.structs.replace(decided, decisions=by_flag)


def _count(engine: Engine, caller: Caller, decided: Decided, keys: Sequence[str] | None) -> None:
    engine.tally.decided(decided.decisions.values())
    if caller.kind in APPLICATION_KINDS:
        engine.tally.answered_app(decided.decisions, decided.flags, by_name=keys is not None)


def _without_person(engine: Engine, keys: Sequence[str] | None, error: Exception) -> Decided:
    """Defaults of the flags that this process has ever learned of; all others have none.

    Nobody can say now that there is no such flag: it may be newer than what this process knows.
    """
    if engine.catalogue is None and keys is None:
        raise Unavailable("definitions are away", {"remedy": "try again"}, retry_after_s=1) from error
    flags = {} if engine.catalogue is None else engine.catalogue.flags
    wanted = sorted(flags) if keys is None else keys
    return Decided({key: error_decision(str(error), flags.get(key)) for key in wanted}, flags, {})


def state_of(decided: Decided) -> tuple[list[int], list[tuple[str, int]]]:
    """What answers rest on, for their tags: the version of each known flag, and the last seq of each id.

    The instant and a rebuild's stamps are left out, since they change no answer.
    """
    versions = [decided.flags[key].version for key in decided.decisions if key in decided.flags]
    return versions, [(id, state["seq"]) for id, state in decided.asof["ids"].items()]
