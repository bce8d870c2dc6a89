"""What a ticket is made of, and what Redis keeps of it."""

from __future__ import annotations

import pytest

from serving.access.keys import keys_of, tag_of
from serving.streams.tickets import Subject, is_by, name_of, sealed, subject_in, tag_in, ticket_of

SUBJECT = Subject("configured:read", "ofrep", "ada-of-the-long-name", "anon-5f3a", None)
TICKET = ticket_of(SUBJECT, b"digest")


def test_a_ticket_names_its_key_and_has_a_check() -> None:
    """The key is found by the tag; a ticket that was changed anywhere is not by that key."""
    assert tag_in(TICKET) == tag_of(b"digest")
    assert is_by(TICKET, b"digest")
    assert not is_by(TICKET, b"other")
    for place, digit in enumerate(TICKET):
        assert not is_by(TICKET[:place] + ("0" if digit != "0" else "1") + TICKET[place + 1 :], b"digest")


@pytest.mark.parametrize("text", ["", TICKET[1:], TICKET + "0", TICKET.upper(), TICKET[:-1] + "é", TICKET + "\n"])
def test_what_can_be_no_ticket_has_no_tag(text: str) -> None:
    """Nobody looks for it."""
    assert tag_in(text) is None


def test_what_is_kept_names_nobody() -> None:
    """Neither the ids nor the ticket stand in Redis; who has the ticket reads the ids."""
    seal = sealed(SUBJECT, TICKET)

    assert subject_in(seal, TICKET) == SUBJECT
    assert not [part for part in ("ada", "5f3a", "ofrep", "null") if part.encode() in seal]
    assert name_of(TICKET) not in TICKET and TICKET not in name_of(TICKET)


def test_the_rate_of_a_key_is_forgotten_with_it() -> None:
    """Also one that others keep for each key."""
    keys = keys_of({"read": ["r"]})
    caller = next(iter(keys.configured.values()))
    rates = keys.rates_of(1.0)
    rates.take(caller.id)
    rates.take("of-a-revoked-key")

    keys.know({})

    assert rates.known == {caller.id}
