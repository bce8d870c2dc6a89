"""Log entries as rows of the lake: every column of every kind of event, and no row where there is none."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from lake.schemas import EVENTS
from pipelines.rows import event_rows
from serving.store.logged_event import Accepted, LogEntry

DAY_MS = 86_400_000
PURCHASE = Accepted(
    event_id="e1",
    kind="track",
    id="user:ada",
    user_id="ada",
    anonymous_id="d1",
    name="purchase",
    original_ts=5,
    properties={"amount": 2, "vip": True, "plan": "pro", "items": [1, {"x": 1}], "at": {"city": "Oslo", "zip": None}},
    context={"ip": "::1"},
)
IDENTIFY = Accepted(
    event_id="e2", kind="identify", id="anon:d1", anonymous_id="d1", traits={"plan": None, "a": {"b": 1}}
)
UNLINK = Accepted(event_id="e3", kind="unlink", id="email:5f", name="user:ada")


def of(
    number: float | None = None, string: str | None = None, boolean: bool | None = None, json: str | None = None
) -> dict[str, Any]:
    """A typed value as a row shows it."""
    return {"number": number, "string": string, "boolean": boolean, "json": json}


def test_each_event_is_a_row_of_the_schema() -> None:
    """A row has times, ids and JSON as they came. Its props are typed, nested ones by dotted names; an identify's also
    whole, with its nulls."""
    table = event_rows([(3, LogEntry(7, PURCHASE, -1, 2 * DAY_MS)), (0, LogEntry(1, IDENTIFY, 0, 3 * DAY_MS - 1))])

    table.validate(full=True)
    assert table.schema == EVENTS.columns
    first, second = table.to_pylist()
    assert first == {
        "ingest_date": date(1970, 1, 3),
        "shard": 3,
        "seq": 7,
        "event_id": "e1",
        "kind": "track",
        "id_kind": "user",
        "id": "user:ada",
        "user_id": "ada",
        "anonymous_id": "d1",
        "name": "purchase",
        "ts": -1,
        "original_ts": 5,
        "received_at": 2 * DAY_MS,
        "properties": '{"amount":2,"vip":true,"plan":"pro","items":[1,{"x":1}],"at":{"city":"Oslo","zip":null}}',
        "props": [
            ("amount", of(2.0)),
            ("vip", of(boolean=True)),
            ("plan", of(string="pro")),
            ("items", of(json="[1,null]")),
            ("at.city", of(string="Oslo")),
        ],
        "traits": None,
        "context": '{"ip":"::1"}',
        "import_id": None,
    }
    assert second["ingest_date"] == date(1970, 1, 3)
    assert dict(second["props"]) == {"plan": of(), "a": of(json='{"b":1}'), "a.b": of(1.0)}
    assert (second["properties"], second["traits"]) == (None, '{"plan":null,"a":{"b":1}}')


@pytest.mark.parametrize("events", [[], [UNLINK]])
def test_nothing_and_events_without_fields_have_the_schema_too(events: list[Accepted]) -> None:
    """A column without any value keeps its type."""
    table = event_rows([(0, LogEntry(seq, event, 0, 0)) for seq, event in enumerate(events)])

    table.validate(full=True)
    assert table.schema == EVENTS.columns
    assert [row["props"] for row in table.to_pylist()] == [[] for _ in events]
