"""Decisions of several flags for one person. Each is guarded: a mistake of ours costs one flag its answer, not all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from serving.definitions.flags import Flag
from serving.people.decide import Decider, Decision, error_decision
from serving.people.person import Person
from serving.refusals import cut
from serving.store.base_codec import CodecError

log = structlog.get_logger()


class Decided(msgspec.Struct, frozen=True):
    """Decisions by flag, in the order asked for, and what they rest on: `asof` is empty when the person is away.

    `flags` holds the flags that are known. An unknown one has a decision all the same, with reason ERROR.
    """

    decisions: Mapping[str, Decision]
    flags: Mapping[str, Flag]
    asof: Mapping[str, Any]


def decided_bare(person: Person, device: str | None, keys: Sequence[str] | None) -> Decided:
    """The same as `decided_for`, without the flags: whoever has it from another process has the flags already."""
    return msgspec.structs.replace(decided_for(person, device, keys), flags={})


def decided_for(person: Person, device: str | None, keys: Sequence[str] | None, explain: bool = False) -> Decided:
    """Decisions of these flags (None: of all) for a person; `device` is the namespaced id of theirs that asks."""
    flags = person.catalogue.flags
    wanted = sorted(flags) if keys is None else keys
    decider = Decider(person, device, with_tree=explain, explanations=max(1, len(wanted)))
    return Decided({key: _guarded(decider, key, flags) for key in wanted}, flags, person.asof)


def _guarded(decider: Decider, key: str, flags: Mapping[str, Flag]) -> Decision:
    """One decision. A mistake of ours gives this flag's default and a line in the log; the other flags are decided."""
    if key not in flags:
        return not_found(key)
    try:
        return decider.decision(key)
    except CodecError as error:
        return error_decision(str(error), flags[key])
    except Exception as error:
        log.error("undecided", flag=key, exc_info=error)
        return error_decision("the flag could not be evaluated", flags[key])


def not_found(key: str) -> Decision:
    """The decision of a flag that there is not."""
    return error_decision(f"Flag '{cut(key)}' not found")
