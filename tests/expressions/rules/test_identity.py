"""The rule of identity over frames gives the people that following each claim gives."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.frames import event_frame
from expressions.rules.identity import persons, roots
from tests.chance import seeded

IDS = st.integers(0, 8).map(lambda number: f"user:{number}")


def link(number: int, id: str, owner: str) -> dict[str, Any]:
    """A row that claims an id for an owner, with this seq."""
    return {
        "kind": "link",
        "id": id,
        "name": owner,
        "seq": number,
        "event_id": f"e{number}",
        "received_at": 0,
        "ts": 0,
    }


@seeded
@given(st.lists(st.tuples(IDS, IDS).filter(lambda pair: pair[0] != pair[1]), max_size=12))
def test_chains_and_rings_are_followed_to_the_same_persons(claims: list[tuple[str, str]]) -> None:
    """Each id that belongs to another has one row, with the person at the end of its chain, whatever the claims."""
    owner_of: dict[str, str] = {}
    for id, owner in claims:
        owner_of.setdefault(id, owner)
    rows = persons(event_frame(link(number, *pair) for number, pair in enumerate(claims)))

    assert sorted(rows.iter_rows()) == sorted(roots(owner_of).items())
