"""Decisions for one person with one read, whatever the protocol. A broken part gives defaults, not errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import structlog

from expressions.definitions import Bound, Key
from expressions.live.explain import TURN_LEFT_OUT, unexplained
from serving.access.keys import Caller
from serving.api.beside import beside, is_large
from serving.api.dependencies import live_person
from serving.definitions.flags import Flag
from serving.engine import Engine
from serving.ids import Ids, namespaced
from serving.people.decide import Decider, Decision, error_decision
from serving.people.person import Person
from serving.refusals import Refusal, Unavailable, cut
from serving.store.base_codec import CodecError
from serving.store.deadlines import within
from serving.store.errors import StoreError

log = structlog.get_logger()

#: How long a decision waits for Redis. With the rest of an answer it is less than a second.
DECIDE_S = 0.8


class Decided(msgspec.Struct, frozen=True):
    """Decisions by flag, in the order asked for, and what they rest on: `asof` is empty when the person is away.

    `flags` holds the flags that are known. An unknown one has a decision all the same, with reason ERROR.
    """

    decisions: Mapping[str, Decision]
    flags: Mapping[str, Flag]
    asof: Mapping[str, Any]


@within(DECIDE_S)
async def decisions(
    engine: Engine, caller: Caller, ids: Ids, keys: Sequence[str] | None, explain: bool = False
) -> Decided:
    """Decisions of these flags (None: of all) for the person whom the ids name; for nobody where they name none.

    Answers to apps, which have a read key, are what `serving.activity` tells of flags: other keys try them out.

    Defaults where Redis does not answer within `DECIDE_S`, and at once while it is known to be silent.
    Raises `Unavailable` alone, and only when all flags are asked for and none are known.
    """
    try:
        person = await live_person(engine, *ids.strongest_first[:1])
    except (Refusal, StoreError, CodecError) as error:
        defaults = _without_person(engine, keys, error)
        _count(engine, caller, defaults, keys)
        return defaults
    device = None if ids.anonymous is None else namespaced("anon", ids.anonymous)
    decided = await decided_in_turn(person, device, keys, explain)
    _count(engine, caller, decided, keys)
    engine.tally.read(person.reading.records)
    lacking = list(dict.fromkeys(id for decision in decided.decisions.values() for id in decision.lacking))
    if lacking:
        await engine.want_rebuild_of(lacking)
    return decided


async def decided_in_turn(
    person: Person, device: str | None, keys: Sequence[str] | None, explain: bool = False
) -> Decided:
    """The same as `decided_for`, beside the event loop where it takes more than a moment.

    An explanation that has no turn before the deadline is left out. A decision that takes long waits for its turn as
    long as it must: nobody else would answer if it were made in the loop.
    """
    is_long = is_large(person.reading.records, len(person.catalogue.flags if keys is None else keys))
    if explain:
        with suppress(TimeoutError):
            return await beside(lambda: decided_for(person, device, keys, explain))
    decided = (
        await beside(lambda: decided_for(person, device, keys), is_patient=True)
        if is_long
        else decided_for(person, device, keys)
    )
    return _unexplained(decided, person.catalogue.bounds) if explain else decided


def decided_for(person: Person, device: str | None, keys: Sequence[str] | None, explain: bool = False) -> Decided:
    """Decisions of these flags (None: of all) for a person; `device` is the namespaced id of theirs that asks."""
    flags = person.catalogue.flags
    wanted = sorted(flags) if keys is None else keys
    decider = Decider(person, device, with_tree=explain, explanations=max(1, len(wanted)))
    return Decided({key: _guarded(decider, key, flags) for key in wanted}, flags, person.asof)


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
    if caller.kind == "read":
        engine.tally.answered_app(decided.decisions, decided.flags, by_name=keys is not None)


def _guarded(decider: Decider, key: str, flags: Mapping[str, Flag]) -> Decision:
    """One decision. A mistake of ours gives this flag's default and a line in the log; the other flags are decided."""
    if key not in flags:
        return _not_found(key)
    try:
        return decider.decision(key)
    except CodecError as error:
        return error_decision(str(error), flags[key])
    except Exception as error:
        log.error("undecided", flag=key, exc_info=error)
        return error_decision("the flag could not be evaluated", flags[key])


def _without_person(engine: Engine, keys: Sequence[str] | None, error: Exception) -> Decided:
    """Defaults of the flags that this process has ever learned of; all others have none."""
    if engine.catalogue is None:
        if keys is None:
            raise Unavailable("definitions are away", {"remedy": "try again"}, retry_after_s=1) from error
        return Decided({key: error_decision(str(error)) for key in keys}, {}, {})
    flags = engine.catalogue.flags
    by_flag = {
        key: error_decision(str(error), flags[key]) if key in flags else _not_found(key)
        for key in (sorted(flags) if keys is None else keys)
    }
    return Decided(by_flag, flags, {})


def _not_found(key: str) -> Decision:
    return error_decision(f"Flag '{cut(key)}' not found")


def state_of(decided: Decided) -> tuple[list[int], list[tuple[str, int]]]:
    """What answers rest on, for their tags: the version of each known flag, and the last seq of each id.

    The instant and a rebuild's stamps are left out, since they change no answer.
    """
    versions = [decided.flags[key].version for key in decided.decisions if key in decided.flags]
    return versions, [(id, state["seq"]) for id, state in decided.asof["ids"].items()]
