"""Refused events as the list has them: reasons that no client can fill, and pages that are exact while more come in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lake.lake import Lake
from serving.history import Source
from serving.ingest.accept import Limits, accept
from serving.ingest.event_json import event_of
from serving.lookups import rejected
from serving.lookups.rejected import GROUPS_MAX, Asked, Place
from serving.refusals import Invalid

EVER = Asked(-(2**62), 2**62)
NOON_MS = 1_767_268_800_000
#: An event that would be taken.
GOOD = {"type": "track", "userId": "ada", "event": "seen"}


class Refused:
    """A lake with refused events, each with the number of its place in the stream."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(str(folder / "lake"))
        self.numbers = iter(range(1, 1_000_000))

    def keep(self, *rows: dict[str, Any]) -> None:
        """Puts rows into the table, as the drain does."""
        self.lake.append_rejected([(next(self.numbers), row) for row in rows])

    def page(self, limit: int = 1_000, after: Place | None = None) -> dict[str, Any]:
        """A page of all that there is."""
        return rejected.page(Source(self.lake.root, []), EVER, after, limit)


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """A lake without any."""
    return Refused(tmp_path)


def row(id: str | None, received_ms: int = NOON_MS, line: int = 0, **more: Any) -> dict[str, Any]:
    """A refused event."""
    return {"id": id, "received_at": received_ms, "line": line, "source": "api", "code": "invalid_argument", **more}


def refusal(text: bytes, limits: Limits) -> dict[str, Any]:
    """What an event is refused with, as it is kept."""
    with pytest.raises(Invalid) as caught:
        accept(event_of(text), limits)
    details = caught.value.details or {}
    return {"reason": caught.value.message, "field": details["field"], "remedy": details["remedy"]}


def named(number: int, name: str) -> Iterator[bytes]:
    """Events that are refused with a name in them that the client made up: beside its fields, and within each."""
    name = f"{name}{number}"
    yield msgspec.json.encode(GOOD)[:-1] + f',"{name}":NaN}}'.encode()
    yield msgspec.json.encode(GOOD)[:-1] + f',"{name}":"\\ud83d"}}'.encode()
    for field in ("properties", "props", "context"):
        yield msgspec.json.encode(GOOD | {field: {name: 10**400}})
        yield msgspec.json.encode(GOOD | {field: {name: {"x" * 201: 1}}})
        yield msgspec.json.encode(GOOD)[:-1] + f',"{field}":{{"{name}":[1,Infinity]}}}}'.encode()
    yield msgspec.json.encode({"type": "identify", "userId": "ada", "traits": {name: 10**400}})


def test_names_that_clients_make_up_do_not_crowd_out_reasons(refused: Refused) -> None:
    """Some hundred names that each are refused twice are a handful of reasons, and the one event of another reason is
    among them. A property that a trait sums is named: there are no more of them than definitions have."""
    limits = Limits({"seen": frozenset({"amount"})})
    made_up = [refusal(text, limits) for number in range(GROUPS_MAX + 1) for text in named(number, "n")]
    real = [
        refusal(msgspec.json.encode(GOOD | more), limits)
        for more in ({"timestamp": "never"}, {"properties": {"amount": 10**13}})
    ]
    kept = [row(f"id-{at}", **found) for at, found in enumerate([*made_up, *made_up, *real])]
    refused.keep(*kept)

    reasons = {of["group"]: of["count"] for of in refused.page()["reasons"]}

    assert len(reasons) < 20
    assert sum(reasons.values()) == len(kept)
    assert not [reason for reason in reasons if "n1" in reason]
    assert reasons["timestamp: use ISO 8601, as 2023-01-01T12:00:00Z"] == 1
    assert reasons["properties.amount: a trait sums it: send at most 10^12 either way"] == 1


@pytest.mark.parametrize("length", [200, 30_000])
def test_what_is_kept_of_a_name_is_bounded(length: int) -> None:
    """A refusal repeats a hundred characters of what was sent: of a field's name as of its value."""
    found = refusal(msgspec.json.encode(GOOD)[:-1] + b',"properties":{"%b":NaN}}' % (b"n" * length), Limits())

    assert len(found["field"]) <= 100
    assert len(found["reason"]) <= 300


def test_pages_are_exact_while_events_of_the_same_instant_come_in(refused: Refused) -> None:
    """The drain moves a batch's refused events in parts. Each event that was there at the first page is shown once,
    whatever comes before, between and behind."""
    refused.keep(*(row(f"id-{number:03}") for number in range(0, 40, 2)))
    seen: list[str] = []
    after = None
    for step in range(100):
        page = refused.page(3, after)
        seen += [of["id"] for of in page["rejected"]]
        after = page["cursor"]
        if after is None:
            break
        refused.keep(row(f"id-{39 - 2 * step:03}"), row(f"later-{step}", NOON_MS + 1), row(f"old-{step}", NOON_MS - 1))

    assert len(seen) == len(set(seen))
    assert {f"id-{number:03}" for number in range(0, 40, 2)} <= set(seen)
    assert seen[:20] == sorted(seen[:20], reverse=True)


def test_rows_of_files_come_by_line(refused: Refused) -> None:
    """They have no id and one receipt, two files at one moment also the same lines; each is shown once."""
    rows = [row(None, line=line, source=source) for source in ("a.csv", "b.csv") for line in range(5)]
    refused.keep(row("with-id"), *rows)
    seen: list[tuple[str, int]] = []
    after: Place | None = None
    while True:
        page = refused.page(3, after)
        seen += [(of["source"], of["line"]) for of in page["rejected"]]
        after = page["cursor"]
        if after is None:
            break

    assert sorted(seen) == sorted([("api", 0), *((of["source"], of["line"]) for of in rows)])
    assert [line for _, line in seen[1:]] == [line for line in range(5) for _ in range(2)]
