"""The lists of members, as the owners of ids have it: a read finds the rest of a person by them.

A list may name an id that is not its owner's, and a read asks the id itself. But a list has few places, and must name
every id that is its owner's. Owner and list are in two shards, so others may link or unlink an id between a look at its
owner and a change of a list. So the owner is looked at again after each change, until it is what it was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serving.store.operations.links import Claim
from serving.store.operations.operations import Operations
from serving.store.requests import Steps
from serving.store.scripts.claim import Owner


def settle_lists(operations: Operations, claims: Iterable[Claim]) -> Steps[None]:
    """Puts each claimed id onto the list of the owner that its claim names if it is that owner's, else takes it off."""
    pairs = {(claim.id, claim.owner): claim for claim in claims}
    unsettled = list(pairs.values())
    if not unsettled:
        return
    linked = yield from _linked(operations, unsettled)
    while unsettled:
        theirs = [claim for claim, is_linked in zip(unsettled, linked, strict=True) if is_linked]
        others = [claim for claim, is_linked in zip(unsettled, linked, strict=True) if not is_linked]
        if theirs:
            yield operations.list_members(theirs)
        if others:
            yield operations.drop_members(others)
        now = yield from _linked(operations, unsettled)
        changed = [(claim, is_now) for claim, was, is_now in zip(unsettled, linked, now, strict=True) if was != is_now]
        unsettled, linked = [claim for claim, _ in changed], [is_now for _, is_now in changed]


def tidy_lists(operations: Operations, ids: Sequence[str]) -> Steps[None]:
    """Takes off the lists of some ids what is not theirs."""
    listed: dict[str, tuple[str, ...]] = yield operations.members(ids)
    yield from settle_lists(operations, [Claim(member, id, "") for id, members in listed.items() for member in members])


def _linked(operations: Operations, claims: Sequence[Claim]) -> Steps[list[bool]]:
    """Whether each claimed id belongs to the owner that its claim names."""
    owners: list[Owner | None] = yield operations.owners([claim.id for claim in claims])
    return [owner is not None and owner.id == claim.owner for claim, owner in zip(claims, owners, strict=True)]
