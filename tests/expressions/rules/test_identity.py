"""Whose ids are whose, over frames: the same as following every claim by itself."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.frames import event_frame
from expressions.rules.identity import persons, roots

IDS = st.integers(0, 8).map(lambda number: f"user:{number}")


def link(number: int, one: str, owner: str) -> dict[str, Any]:
    """A claim on an id."""
    return {
        "kind": "link",
        "id": one,
        "name": owner,
        "seq": number,
        "event_id": f"e{number}",
        "received_at": 0,
        "ts": 0,
    }


@given(st.lists(st.tuples(IDS, IDS).filter(lambda pair: pair[0] != pair[1]), max_size=12))
def test_chains_and_rings_are_followed_to_the_same_persons(claims: list[tuple[str, str]]) -> None:
    """Every id that belongs to another, once, with the person at the end of its owners, whatever the claims."""
    owner_of: dict[str, str] = {}
    for one, owner in claims:
        owner_of.setdefault(one, owner)
    found = persons(event_frame(link(number, *pair) for number, pair in enumerate(claims)))

    assert sorted(found.iter_rows()) == sorted(roots(owner_of).items())
