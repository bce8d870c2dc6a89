"""How many streams there may be, of one ticket, of one key, and of all."""

from __future__ import annotations

import pytest

from serving.access.keys import Caller
from serving.http.event_stream import Latest
from serving.refusals import TooMany, Unavailable
from serving.streams.listeners import OF_TICKET_MAX, Followed, Listener, Listeners
from serving.streams.tickets import Subject, ticket_of

READER, OTHER = Caller("configured:read", "read", "read"), Caller("5f3a", "read", "shop")


def followed_of(key_id: str, user: str) -> Followed:
    """What stands for the ticket of a key and a user."""
    subject = Subject(key_id, "ofrep", user, None, None)
    return Followed(ticket_of(subject, key_id.encode()), subject, key_id.encode(), renew_s=0)


def added(listeners: Listeners, followed: Followed) -> tuple[Followed, Listener]:
    """One stream more, if it is taken."""
    listeners.require_room(followed.ticket, followed.subject.key_id)
    listener = Listener(Latest(), None)
    return listeners.add(followed, listener), listener


def test_one_key_leaves_room_for_others() -> None:
    """Half of the connections may be streams, three quarters of these may be one key's; one more is refused."""
    listeners = Listeners(connections_max=16)
    for number in range(6):
        added(listeners, followed_of(READER.id, f"user-{number}"))
    assert not listeners.has_room(READER.id)
    with pytest.raises(TooMany):
        added(listeners, followed_of(READER.id, "user-7"))
    for number in range(2):
        assert listeners.has_room(OTHER.id)
        added(listeners, followed_of(OTHER.id, f"user-{number}"))

    assert not listeners.has_room("a third")
    with pytest.raises(Unavailable) as refused:
        added(listeners, followed_of("a third", "user-8"))
    assert refused.value.retry_after_s


def test_one_ticket_is_followed_once_however_many_listen() -> None:
    """The last one who leaves ends it; its place and its key's are free then."""
    listeners = Listeners(connections_max=1_000)
    streams = [added(listeners, followed_of(READER.id, "ada")) for _ in range(OF_TICKET_MAX)]
    with pytest.raises(TooMany):
        added(listeners, followed_of(READER.id, "ada"))
    assert len({id(followed) for followed, _ in streams}) == len(listeners.followed) == 1

    ended = [listeners.remove(followed, listener) for followed, listener in streams]

    assert ended == [False] * (OF_TICKET_MAX - 1) + [True]
    assert (listeners.followed, listeners.count, listeners.has_room(READER.id)) == ({}, 0, True)


def test_a_ticket_is_of_its_key_ids_and_protocol() -> None:
    """Any other digest, id or protocol gives another one, and the same ones always the same."""
    subject = Subject("k", "ofrep", "ada", None, None)
    others = [
        (subject, b"another"),
        (Subject("k", "decide", "ada", None, None), b"digest"),
        (Subject("k", "ofrep", None, "ada", None), b"digest"),
        (Subject("k", "ofrep", "ada", "ada", None), b"digest"),
        (Subject("l", "ofrep", "ada", None, None), b"digest"),
    ]

    tickets = [ticket_of(*one) for one in [(subject, b"digest"), *others]]

    assert len(set(tickets)) == len(tickets)
    assert tickets[0] == ticket_of(Subject("k", "ofrep", "ada", None, None), b"digest")
