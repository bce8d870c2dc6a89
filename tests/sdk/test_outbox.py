"""The queue of the Python client, without I/O: what each answer makes of the events that it was given for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tinycdp._answers import Fate, Verdict, unanswered, verdict
from tinycdp._outbox import Attempt, Entry, Outbox

from tests.chance import seeded

OK = b'{"success": true, "rejected": []}'
HOUR_MS = 3_600_000


def outbox(queue_max: int = 100, flush_at: int = 4) -> Outbox:
    """An outbox that sends four events at once, or one that has waited for a second."""
    return Outbox(
        queue_max=queue_max, queue_bytes_max=1_000_000, flush_at=flush_at, flush_interval_s=1.0, random=Random(11)
    )


def entries(count: int, user: str = "user:ada") -> list[Entry]:
    """Events of one user, queued at the instant 0."""
    return [Entry(b'{"event":"x"}', f"{user}-{number}", (user,), 0.0) for number in range(count)]


def due(box: Outbox, now_s: float, wall_ms: int = 0) -> Attempt:
    """The attempt that is due at an instant."""
    attempt, _ = box.next_attempt(now_s, wall_ms)
    assert attempt is not None
    return attempt


def test_a_batch_is_due_when_it_is_full_or_its_oldest_event_has_waited() -> None:
    """Three of four wait for a second; the fourth makes them due at once."""
    box = outbox()
    first, second, third, fourth = entries(4)
    for entry in (first, second, third):
        box.put(entry)

    assert box.next_attempt(0.5, 0) == (None, [])
    assert box.wake_s(0.5) == 1.0
    box.put(fourth)
    assert due(box, 0.5).entries == [first, second, third, fourth]


def test_refused_events_of_a_batch_are_told_by_index() -> None:
    """The good events are sent, and the bad one is refused with the server's reason."""
    box = outbox()
    for entry in entries(4):
        box.put(entry)
    attempt = due(box, 0)
    body = b'{"success":true,"rejected":[{"index":2,"code":"invalid_argument","message":"name it"}]}'

    settled = box.settle(attempt, verdict(200, None, body), 0)

    assert [entry.state for entry in settled] == ["sent", "sent", "refused", "sent"]
    assert (settled[2].reason, box.stats.sent, dict(box.stats.refused)) == ("name it", 3, {"invalid_argument": 1})


@pytest.mark.parametrize("status", [400, 413])
def test_a_request_that_is_refused_whole_is_split(status: int) -> None:
    """Halves are asked by themselves until the one bad event is alone, which is refused; the others are sent."""
    box = outbox()
    bad = entries(4)[2]
    for entry in entries(4):
        box.put(bad if entry.message_id == bad.message_id else entry)

    while not box.is_empty():
        attempt = due(box, 0)
        box.settle(attempt, verdict(status if bad in attempt.entries else 200, None, OK), 0)

    assert (bad.state, box.stats.sent) == ("refused", 3)


def test_a_refusal_after_an_attempt_without_an_answer_is_unknown() -> None:
    """The first attempt may have stored the event: a proxy's 400 to the second does not make it refused."""
    box = outbox()
    box.put(entries(1)[0])
    attempt = due(box, 1)
    (entry,) = attempt.entries
    box.settle(attempt, unanswered("no answer", was_sent=True), 1)

    box.settle(due(box, 10), verdict(400, None, b""), 10)

    assert (entry.state, dict(box.stats.unknown)) == ("unknown", {"request refused": 1})


def test_a_full_id_does_not_hold_the_others() -> None:
    """After 429 three times a batch is split, and the events that are not of the full id are sent."""
    box, now_s = outbox(), 0.0
    full = entries(1, "user:busy")[0]
    for entry in [*entries(3), full]:
        box.put(entry)

    for _ in range(200):
        now_s += 1
        attempt, _ = box.next_attempt(now_s, 0)
        if attempt is not None:
            box.settle(attempt, verdict(429 if full in attempt.entries else 200, "1", OK), now_s)

    assert (full.state, box.stats.sent, box.stats.queued) == ("queued", 3, 1)


def test_retry_after_is_honoured_and_back_off_has_a_cap() -> None:
    """A 503 that names 7 seconds is followed after 7; without a name the wait grows to a minute and no further."""
    box = outbox()
    box.put(entries(1)[0])
    box.settle(due(box, 1), verdict(503, "7", b""), 1)
    assert box.wake_s(1) == 8

    now_s = 8.0
    for _ in range(20):
        box.settle(due(box, now_s), unanswered("no answer", was_sent=True), now_s)
        wake_s = box.wake_s(now_s)
        assert wake_s is not None
        assert 0 < wake_s - now_s <= 60
        now_s = wake_s


@pytest.mark.parametrize(
    ("later_ms", "state"), [(22 * HOUR_MS, "sending"), (24 * HOUR_MS, "unknown"), (-2 * HOUR_MS, "unknown")]
)
def test_an_ambiguous_event_is_not_repeated_for_ever(later_ms: int, state: str) -> None:
    """The server knows a repeat for 24 hours: after 23, or if the clock went back, the event is told as unknown."""
    box = outbox()
    box.put(entries(1)[0])
    attempt = due(box, 1)
    (entry,) = attempt.entries
    box.settle(attempt, unanswered("no answer", was_sent=True), 1)

    box.next_attempt(100, later_ms)

    assert entry.state == state


def test_an_event_that_cannot_have_counted_is_repeated_whenever_the_server_is_there() -> None:
    """A connection that is refused for two days costs nothing: no attempt may have stored the event."""
    box = outbox()
    box.put(entries(1)[0])
    attempt = due(box, 1)
    (entry,) = attempt.entries
    box.settle(attempt, unanswered("no answer", was_sent=False), 1)

    assert due(box, 100, 48 * HOUR_MS).entries == [entry]


def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    """What is dropped is named and counted, never silent."""
    box = outbox(queue_max=2)
    first, second, third = entries(3)

    assert [box.put(entry) for entry in (first, second, third)] == [[], [], [first]]
    assert (first.state, dict(box.stats.dropped), box.stats.queued) == ("dropped", {"queue full": 1}, 2)


def test_a_hurried_user_goes_ahead_in_order() -> None:
    """The events of a user whose decision waits go before all else, in their own order, without a full batch."""
    box = outbox(flush_at=10)
    mine = entries(2, "user:me")
    for entry in (*entries(2), mine[0], *entries(1, "user:eve"), mine[1]):
        box.put(entry)

    box.hurry(["user:me"])

    assert due(box, 0).entries == mine


def test_two_requests_are_under_way_for_different_users_alone() -> None:
    """The second takes what is due and names nobody of the first; a user's later events wait for their earlier ones."""
    box = outbox(flush_at=2)
    ada, eve, bob = entries(3, "user:ada"), entries(3, "user:eve"), entries(1, "user:bob")
    for entry in (ada[0], ada[1], ada[2], eve[0], eve[1], bob[0], eve[2]):
        box.put(entry)

    first, second = due(box, 0), due(box, 0)

    assert (first.entries, second.entries) == (ada[:2], eve[:2])
    assert box.next_attempt(0, 0, flush=True) == (None, [])  # two are the most
    box.settle(first, verdict(200, None, OK), 0)
    assert due(box, 0).entries == [ada[2], bob[0]]  # eve's third waits for her first ones
    box.settle(second, verdict(200, None, OK), 0)
    assert box.wake_s(0) is None  # it is no full batch
    attempt, _ = box.next_attempt(0, 0, flush=True)
    assert attempt is not None
    assert attempt.entries == eve[2:]


def test_events_that_name_a_device_and_its_user_keep_their_order() -> None:
    """An event that links two ids stays behind the attempt of one of them, and keeps the other's later ones back."""
    box = outbox(flush_at=1)
    link = Entry(b"{}", "link", ("user:ada", "anon:d"), 0.0)
    for entry in (*entries(1, "user:ada"), link, *entries(1, "anon:d"), *entries(1, "user:eve")):
        box.put(entry)

    assert [due(box, 0).entries[0].message_id for _ in range(2)] == ["user:ada-0", "user:eve-0"]


def test_after_a_failure_one_request_is_under_way_and_the_wait_is_that_of_one() -> None:
    """Both of two fail in one outage: that is one failure, the longer pause holds, and each goes again by itself."""
    box = outbox(flush_at=1)
    for user in ("user:ada", "user:eve", "user:bob"):
        box.put(entries(1, user)[0])
    first, second = due(box, 1), due(box, 1)
    box.settle(first, verdict(429, "30", b""), 1)
    box.settle(second, unanswered("no answer", was_sent=True), 1)

    assert (box.next_attempt(30, 0), box.wake_s(1)) == ((None, []), 31)
    again = due(box, 31)
    assert (again, box.next_attempt(31, 0)) == (first, (None, []))
    box.settle(again, unanswered("no answer", was_sent=True), 31)
    wake_s = box.wake_s(31)
    assert wake_s is not None
    assert 31 + 0.5 <= wake_s <= 31 + 1  # the second failure in a row
    assert due(box, 32) is second
    box.settle(second, verdict(200, None, OK), 32)
    assert [due(box, 32) is first, due(box, 32).entries[0].message_id] == [True, "user:bob-0"]


def test_a_slow_answer_makes_no_small_requests() -> None:
    """While one is under way the next is half full at least, however long its events wait."""
    box = outbox(flush_at=4)
    for entry in (*entries(4, "user:ada"), *entries(1, "user:eve")):
        box.put(entry)
    slow = due(box, 0)

    assert (box.next_attempt(60, 0), box.wake_s(60)) == ((None, []), None)
    box.put(entries(1, "user:bob")[0])
    for entry in entries(2, "user:ada"):
        box.put(entry)
    beside = due(box, 60)
    assert [entry.ids for entry in beside.entries] == [("user:eve",), ("user:bob",)]
    box.settle(slow, verdict(200, None, OK), 60)
    assert box.wake_s(60) is None
    box.settle(beside, verdict(200, None, OK), 60)
    assert len(due(box, 60).entries) == 2


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"success": false}'])
def test_an_answer_that_is_not_the_servers_settles_nothing(body: bytes) -> None:
    """A proxy or a login page answers 200 too: the events may count or not, so they are sent again."""
    found = verdict(200, None, body)

    assert (found.fate, found.is_ambiguous) == (Fate.AGAIN, True)
    assert isinstance(found, Verdict)


@seeded
@given(st.data())
def test_whatever_happens_each_event_ends_in_one_state_and_is_counted_there(data: st.DataObject) -> None:
    """Events, answers of every kind, time and clocks that jump, in any order: nothing is lost, nothing counted twice.

    A request never names an event twice, never one that is settled, and keeps its bounds. Two are under way at most, of
    different users, and a user's events go out for the first time in the order they came in.
    """
    box = outbox(queue_max=6, flush_at=3)
    put: list[Entry] = []
    under_way: list[Attempt] = []
    tried: list[Entry] = []
    now_s, wall_ms = 0.0, 10**12
    for _ in range(data.draw(st.integers(1, 40), "steps")):
        now_s += data.draw(st.sampled_from([0.0, 0.5, 5.0, 400.0]), "seconds")
        wall_ms += data.draw(st.sampled_from([0, 1_000, 13 * HOUR_MS, -2 * HOUR_MS]), "ms")
        for _ in range(data.draw(st.integers(0, 4), "events")):
            put.append(Entry(b"x" * 10, str(len(put)), (f"user:{len(put) % 3}",), now_s))
            box.put(put[-1])
        if data.draw(st.booleans(), "hurry"):
            box.hurry(["user:1"])
        attempt, _ = box.next_attempt(now_s, wall_ms, flush=data.draw(st.booleans(), "flush"))
        if attempt is not None:
            assert 0 < len(attempt.entries) == len(set(map(id, attempt.entries))) <= 3
            assert {entry.state for entry in attempt.entries} == {"sending"}
            tried += [entry for entry in attempt.entries if entry not in tried]
            under_way.append(attempt)
        users = [{entry.ids for entry in one.entries} for one in under_way]
        assert len(users) <= 2
        assert users[1:] == [] or users[0].isdisjoint(users[1])
        if not under_way or data.draw(st.booleans(), "slow"):
            continue
        attempt = under_way.pop(data.draw(st.integers(0, len(under_way) - 1), "answered"))
        status = data.draw(st.sampled_from([200, 200, 400, 401, 413, 429, 500, 503, None, 0]), "status")
        if status:
            found = verdict(status, data.draw(st.sampled_from([None, "0", "7"])), OK if status == 200 else b"")
        else:
            found = unanswered("no answer", was_sent=status is None)
        box.settle(attempt, found, now_s)
    if data.draw(st.booleans(), "close"):
        box.give_up()

    for user in range(3):
        numbers = [int(entry.message_id) for entry in tried if entry.ids == (f"user:{user}",)]
        assert numbers == sorted(numbers)
    stats = box.stats
    states = Counter(entry.state for entry in put)
    assert states["queued"] + states["sending"] == stats.queued == len(box.waiting())
    assert stats.queued_bytes == 10 * stats.queued
    counted = (stats.sent, stats.dropped.total(), stats.refused.total(), stats.unknown.total())
    assert counted == tuple(states[state] for state in ("sent", "dropped", "refused", "unknown"))
