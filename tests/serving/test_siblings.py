"""The slates of the API processes of one address, and that what they counted together never goes back."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from serving.http.tally import Tally
from serving.siblings import Counted, Siblings, Slate


@pytest.fixture
def slates() -> Iterator[list[Slate]]:
    """Two slates that nothing was written on."""
    with ExitStack() as files:
        yield [Slate(files.enter_context(tempfile.TemporaryFile()).fileno()) for _ in range(2)]


def test_a_text_is_read_whole_while_others_are_written(slates: list[Slate]) -> None:
    """A reader beside a writer sees one of its texts, whatever their lengths."""
    texts = [bytes([number]) * (1 + number * 7_001 % 60_000) for number in range(1, 200)]
    slate, seen = slates[0], [b""]
    writer = threading.Thread(target=lambda: [slate.write(text) for text in texts])
    assert slate.read() == b""

    writer.start()
    while writer.is_alive():
        seen.append(slate.read())
    writer.join()

    assert set(seen) <= {b"", *texts}
    assert slate.read() == texts[-1]


def test_a_writer_that_died_in_a_write_leaves_the_text_before(
    slates: list[Slate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new text may be there, but the head names the old one."""
    slate = slates[0]
    slate.write(b"first")
    slate.write(b"second")
    with monkeypatch.context() as patch:
        patch.setattr("serving.siblings.os.pwrite", _died_before_the_head)
        with pytest.raises(KeyboardInterrupt):
            slate.write(b"a third")

    assert slate.read() == b"second"


def _died_before_the_head(file: int, text: bytes, place: int, write: Callable[..., int] = os.pwrite) -> int:
    if place == 0:
        raise KeyboardInterrupt
    return write(file, text, place)


def test_whoever_is_asked_tells_the_same_and_nothing_is_forgotten(slates: list[Slate]) -> None:
    """Each tells its own counters as they are, and those of the other as it noted them last.

    A process that takes the place of a dead one goes on from there.
    """
    first, second = Siblings(1, slates), Siblings(2, slates)
    ones, twos = _counted(1), _counted(2)
    _work(ones.tally, events=3)
    _work(twos.tally, events=5)
    second.note(twos)
    assert _accepted(first.counted(ones)) == _accepted(second.counted(twos)) == 8

    _work(twos.tally, events=2)
    assert _accepted(second.counted(twos)) == _accepted(first.counted(ones)) == 10

    again = _counted(3)
    second = Siblings(2, slates)
    _work(again.tally, events=1)
    told = second.counted(again)

    assert _accepted(told) == _accepted(first.counted(ones)) == 11
    assert [counted.pid for counted in told.values()] == [1, 3]
    requests = told[2].tally.requests["POST", "/v1/track"]
    assert (requests.statuses, sum(requests.seconds.counts), requests.seconds.total) == ({200: 3}, 3, 0.75)
    assert (told[2].tally.reasons, sum(told[2].tally.tails.counts)) == ({"STATIC": 3}, 3)


def test_one_alone_tells_what_it_counted() -> None:
    """It needs no slate."""
    own = _counted(7)
    _work(own.tally, events=4)

    assert Siblings().is_alone
    assert Siblings().counted(own) == {1: own}


class _Decision:
    allow, reason, variant = True, "STATIC", None


def _counted(pid: int) -> Counted:
    return Counted(pid, Tally(), streams_open=0, streams_max=10)


def _work(tally: Tally, events: int) -> None:
    """One request with so many events, one decision and one record."""
    tally.ingested(events, 0)
    tally.answered("POST", "/v1/track", 200, 0.25)
    tally.decided([_Decision()])
    tally.read([4])


def _accepted(of_each: dict[int, Counted]) -> int:
    return sum(counted.tally.accepted for counted in of_each.values())
