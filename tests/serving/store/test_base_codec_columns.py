"""Bases that are encoded many at once have the bytes that each has by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expressions.batch.base_frames import base_parts
from expressions.batch.frames import event_frame
from expressions.definitions import Definition
from expressions.plan import plan
from expressions.rules.properties import typed
from expressions.rules.windows import DAY_MS
from expressions.text.bind import bind
from serving.store import base_codec
from serving.store.base_codec_columns import encoded
from tests.chance import seeded

NOW = 1_790_000_000_123
PLAN = plan(
    definition.expr
    for definition in bind(
        Definition("trait", f"t{index}", text)
        for index, text in enumerate(
            [
                "events.x.v.sum_30d",
                'events.x.where(w == "a").count_7d',
                "events.x.v.max",
                "events.x.v.first",
                "events.x.w.unique",
                "events.y.v.median_1d",
                "events.x.v.most_frequent",
                "last_seen_days_ago",
                "profile.plan",
            ]
        )
    ).values()
)

numbers = st.one_of(
    st.integers(-200, 200),
    st.integers(-(10**12), 10**12).map(lambda cents: cents / 100),
    st.sampled_from([0.0, -0.0, 1e300, -1e-9, 2.0**53, 2.0**53 - 1, -(2.0**31), 32_767, 32_768, -128, 1.000001]),
    st.floats(allow_nan=False, allow_infinity=False),
)
texts = st.text(max_size=4)
mixed = st.one_of(st.none(), st.booleans(), numbers, texts, st.lists(st.integers(), max_size=2), st.just({"in": 1.0}))
columns = st.sampled_from([numbers, st.integers(-100, 100), texts, st.booleans(), mixed, st.none()])
times = st.one_of(
    st.integers(0, 60 * DAY_MS).map(lambda ago: NOW - ago),
    st.integers(0, 40).map(lambda days: NOW - days * DAY_MS),
    st.integers(-(2**46), 2**46),
)


@st.composite
def users(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events of a few users; what a property holds differs by user, and it may be absent."""
    rows = []
    for user in range(draw(st.integers(1, 6))):
        v, w = draw(columns), draw(columns)
        for _ in range(draw(st.integers(0, 12))):
            fields = {name: draw(values) for name, values in (("v", v), ("w", w)) if draw(st.integers(0, 4))}
            rows.append(_row(user, draw(st.sampled_from("xxyz")), draw(times), fields))
        if draw(st.booleans()):
            rows.append({**_row(user, "", NOW - 5, {"plan": draw(mixed)}), "kind": "identify", "name": None})
    return rows


def _row(user: int, name: str, ts_ms: int, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"user:{user}",
        "kind": "track",
        "name": name,
        "ts": ts_ms,
        "props": {field: typed(value) for field, value in fields.items()},
    }


def assert_same_bytes(rows: Sequence[dict[str, Any]], light_events_max: int = 256) -> None:
    """All at once or one by one."""
    for part in base_parts(event_frame(rows), PLAN, NOW, 3_600_000, light_events_max):
        together = encoded(part)
        assert together == [base_codec.encode(base) for _, base, _ in part.bases()]


@seeded
@given(users(), st.sampled_from([256, 3, 0]))
def test_bytes_are_those_of_the_codec(rows: list[dict[str, Any]], light_events_max: int) -> None:
    """The bytes are the same for numbers of every width and scale, texts, booleans, lists and absent values, light or
    heavy."""
    assert_same_bytes(rows, light_events_max)


@pytest.mark.parametrize("span_ms", [10, 30_000, 3 * DAY_MS, 50 * 365 * DAY_MS])
def test_bytes_are_those_of_the_codec_for_many_events(span_ms: int) -> None:
    """Steps of one to eight bytes, and counts that no one chooses by hand."""
    chance = random.Random(span_ms)
    rows = [
        _row(chance.randrange(40), "x", NOW - chance.randrange(span_ms), {"v": chance.randrange(10**6) / 100})
        for _ in range(3_000)
    ]
    assert_same_bytes(rows)


def test_ids_are_dealt_out_to_parts_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each id is in one part, with all that it has, however many parts there are."""
    rows = [_row(number % 97, "x", NOW - number, {"v": float(number)}) for number in range(2_000)]
    whole = {
        id_: base_codec.encode(base)
        for part in base_parts(event_frame(rows), PLAN, NOW, 0)
        for id_, base, _ in part.bases()
    }
    monkeypatch.setattr("expressions.batch.base_frames.IDS_AT_ONCE", 10)
    parts = list(base_parts(event_frame(rows), PLAN, NOW, 0))
    assert len(parts) > 5
    dealt = [(id_, data) for part in parts for id_, data in zip(part.ids, encoded(part), strict=True)]
    assert len(dealt) == 97
    assert dict(dealt) == whole
    finer = list(base_parts(event_frame(rows), PLAN, NOW, 0, finer=4))
    assert {part.parts for part in finer} == {4 * part.parts for part in parts[:1]}
    assert {id_: data for part in finer for id_, data in zip(part.ids, encoded(part), strict=True)} == whole


def test_nobody_has_no_part() -> None:
    """There is nothing to publish without rows."""
    assert not list(base_parts(pl.LazyFrame(schema=event_frame([]).collect_schema()), PLAN, NOW, 0))
