"""A base survives its bytes, bit for bit; bytes that are no base are refused; and they are few."""

from __future__ import annotations

import math
import random
import struct
from array import array
from itertools import chain
from typing import Any
from zlib import crc32

import msgspec
import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from expressions.bases import Base, Events, RawEvent, SpanState, base_of
from expressions.event_columns import Decimals
from expressions.rules.values import from_json, order_key
from serving.store import base_codec, keys, stamps
from serving.store.base_codec import CodecError
from serving.store.stamps import Stamp
from tests.chance import seeded

NOW_MS = 1_790_000_000_123
DAY_MS = 86_400_000

text = st.text(max_size=12)
times = st.integers(-(2**47), 2**47)
numbers = st.one_of(
    st.integers(-1_000, 1_000).map(float),
    st.integers(-(10**9), 10**9).map(lambda cents: cents / 100),
    st.floats(allow_nan=False, allow_infinity=False),
).map(from_json)
scalars = st.one_of(st.none(), st.booleans(), numbers, text)
values: st.SearchStrategy[Any] = st.one_of(scalars, st.lists(scalars, max_size=3).map(tuple))
same_kind = st.sampled_from([numbers, text, st.booleans(), values])
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
order_keys = scalars.filter(lambda value: value is not None).map(order_key)
states = st.one_of(
    st.none(),
    st.integers(-(2**127), 2**127),
    numbers,
    text,
    st.tuples(times, values.filter(lambda value: value is not None)),
    st.frozensets(order_keys, max_size=5),
    st.dictionaries(order_keys, st.integers(1, 2**40), max_size=5),
)
state_ids = st.binary(min_size=6, max_size=6).map(bytes.hex)


@st.composite
def events(draw: st.DrawFn) -> Events:
    """Some events of one name, every field with or without nulls."""
    ts_ms = sorted(draw(st.lists(times, max_size=20)))
    fields = {}
    for field in draw(st.lists(text, unique=True, max_size=3)):
        item = draw(same_kind)
        item = draw(st.sampled_from([item, st.none() | item]))
        fields[field] = draw(st.lists(item, min_size=len(ts_ms), max_size=len(ts_ms)))
    return Events(array("q", ts_ms), fields)


bases = st.builds(
    Base,
    events=st.dictionaries(st.none() | text, events(), max_size=3),
    spans=st.lists(st.builds(SpanState, times, times, st.dictionaries(state_ids, states, max_size=4)), max_size=3).map(
        tuple
    ),
    profile=st.dictionaries(text, st.tuples(times, json_values), max_size=3),
)


def bits(value: Any) -> Any:
    """A value as something that is equal only for equal types and equal bits."""
    match value:
        case float():
            return ("float", struct.pack("<d", value))
        case dict():
            return ("dict", [(bits(key), bits(item)) for key, item in sorted(value.items(), key=repr)])
        case frozenset():
            return ("set", sorted((bits(item) for item in value), key=repr))
        case list() | Decimals():  # a column may know more than a plain list does
            return ("list", [bits(item) for item in value])
        case tuple():
            return ("tuple", [bits(item) for item in value])
        case _:
            return (type(value).__name__, value)


def content(base: Base) -> Any:
    """All that a base holds, by its bits."""
    return bits(
        {
            "events": {
                name: {"ts": events.ts_ms.tolist(), "fields": events.fields} for name, events in base.events.items()
            },
            "spans": [(span.low_ms, span.high_ms, dict(span.states)) for span in base.spans],
            "profile": {key: tuple(value) for key, value in base.profile.items()},
        }
    )


def column(*items: Any) -> Base:
    """A base with one field."""
    return Base(events={"purchase": Events(array("q", range(len(items))), {"field": list(items)})})


class TestRoundTrip:
    @seeded
    @given(bases)
    @example(Base())
    @example(Base(events={"purchase": Events(array("q", [5]), {})}))
    @example(Base(events={None: Events(array("q", [-(2**62), 2**62]), {})}))
    def test_a_base_comes_back_as_it_was(self, base: Base) -> None:
        """Every time, value, state and attribute has the type and the bits it had, in the order it had."""
        assert content(base) == content(base_codec.decode(base_codec.encode(base)))

    @pytest.mark.parametrize(
        "items",
        [
            (0.1, 0.2, 0.30000000000000004),
            (19.99, 0.01, 1e12),
            (1.0, -0.0),
            (2.0**53, 2.0**53 + 2),
            (1e300, 5e-324),
            (math.pi, None, 3.0),
            (None, None),
            (True, 1.0, "1", None),
            (True, False, None),
            ("a", "b", "a", ""),
            ((1.0, "a", None), (), None),
        ],
    )
    def test_a_column_keeps_its_bits(self, items: tuple[Any, ...]) -> None:
        """Decimals, whole numbers, floats without a short form, mixed kinds: each column comes back exactly."""
        assert bits(list(items)) == bits(
            base_codec.decode(base_codec.encode(column(*items))).events["purchase"].fields["field"]
        )

    def test_whole_numbers_of_an_attribute_beyond_64_bits_are_read_as_floats(self) -> None:
        """Such a number comes back as the float that the language reads it as."""
        base = Base(profile={"big": (1, {"n": 10**30})})

        assert base_codec.decode(base_codec.encode(base)).profile == {"big": (1, {"n": 1e30})}

    def test_bytes_do_not_depend_on_how_a_set_came_about(self) -> None:
        """Equal states have equal bytes, whatever order their values came in."""
        words = [order_key(f"word {index}") for index in range(50)]
        forwards = Base(spans=(SpanState(0, 1, {"00" * 6: frozenset(words), "01" * 6: dict.fromkeys(words, 2)}),))
        backwards = Base(
            spans=(SpanState(0, 1, {"01" * 6: dict.fromkeys(words[::-1], 2), "00" * 6: frozenset(words[::-1])}),)
        )

        assert base_codec.encode(forwards) == base_codec.encode(backwards)


class TestRefusal:
    @seeded
    @given(bases, st.data())
    def test_a_changed_byte_is_noticed(self, base: Base, data: st.DataObject) -> None:
        """Bytes with any one of them changed raise; they are never read as another base."""
        encoded = bytearray(base_codec.encode(base))
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))

        with pytest.raises(CodecError):
            base_codec.decode(bytes(encoded))

    @seeded
    @given(bases, st.data())
    def test_a_cut_is_noticed(self, base: Base, data: st.DataObject) -> None:
        """The first part of a base's bytes raises, however long."""
        encoded = base_codec.encode(base)

        with pytest.raises(CodecError):
            base_codec.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])

    @seeded
    @given(st.binary(max_size=200))
    def test_any_bytes_are_refused(self, data: bytes) -> None:
        """Bytes that were never encoded raise, with or without the version in front."""
        for tried in (data, bytes([base_codec.VERSION]) + data):
            with pytest.raises(CodecError):
                base_codec.decode(tried)

    def test_an_unknown_version_says_so(self) -> None:
        """A base of a later version is refused by its number."""
        encoded = base_codec.encode(Base())

        with pytest.raises(CodecError, match=f"version {base_codec.VERSION + 1}"):
            base_codec.decode(bytes([base_codec.VERSION + 1]) + encoded[1:])

    @pytest.mark.parametrize(
        "body",
        [
            [],
            [[], [], []],
            [[], [], [], []],
            [[["purchase", 2, 0, 1, "B", b"", []]], [], [], {}],
            [[["purchase", -1, 0, 1, "B", b"", []]], [], [], {}],
            [[["purchase", 1, "noon", 1, "B", b"", []]], [], [], {}],
            [[["purchase", 3, 0, 1, "H", b"\x01\x02\x03", []]], [], [], {}],
            [[["purchase", 2, 0, 1, "Z", b"\x01", []]], [], [], {}],
            [[["purchase", 1, 0, 1, "B", b"", [["amount", "n", "b", b"\x01\x02"]]]], [], [], {}],
            [[["purchase", 1, 0, 1, "B", b"", [["amount", "n", "b", b"\x01", None, 0]]]], [], [], {}],
            [[["purchase", 1, 0, 1, "B", b"", [["amount", "x", "b", b"\x01"]]]], [], [], {}],
            [[["purchase", 1, 0, 1, "B", b"", [["word", "s", "B", b"\x07", None, 1, ["a"]]]]], [], [], {}],
            [[["purchase", 1, 0, 1, "B", b"", [["amount", "n", "b", b"\x01", b"\x02"]]]], [], [], {}],
            [[["purchase", 1, 0, 1, "B", b"", [["amount", "n", "b", b"", b"\x01"]]]], [], [], {}],
            [[], [[0, 1, {0: 5}]], [], {}],
            [[], [[0, 1, {-1: 5}]], [b"123456"], {}],
            [[], [[0, 1, {0: ["z", 5]}]], [b"123456"], {}],
            [[], [[0, 1, {0: ["c", [1.0], []]}]], [b"123456"], {}],
            [[], [[0, 1, {0: {"a": 1}}]], [b"123456"], {}],
            [[], [], [], {"plan": "pro"}],
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, body: Any) -> None:
        """Bytes whose checksum is right are still checked: counts agree, indices point inside, kinds are known."""
        with pytest.raises(CodecError):
            base_codec.decode(_sealed(body))


def _sealed(body: Any) -> bytes:
    """Any msgpack with the header that a base has."""
    packed = msgspec.msgpack.encode(body)
    return bytes([base_codec.VERSION]) + crc32(packed).to_bytes(4, "little") + packed


class TestMemory:
    @pytest.mark.parametrize(("size", "bytes_max"), [(10, 300), (100, 900)])
    def test_a_light_user_stays_within_its_budget(self, size: int, bytes_max: int, redis_url: str) -> None:
        """A record with an id of 25 bytes and events with one amount takes at most so much of Redis' memory."""
        chance = random.Random(size)
        base = base_of(
            RawEvent(
                "track",
                "purchase",
                NOW_MS - chance.randrange(90 * DAY_MS),
                {"amount": round(chance.uniform(0, 200), 2)},
            )
            for _ in range(size)
        )

        assert bytes_a_record(redis_url, base, 0) <= bytes_max

    def test_a_heavy_user_takes_no_more_than_a_kilobyte(self, redis_url: str) -> None:
        """1,000 events under three aggregates: three spans with their states, and the raw events of two edges."""
        chance = random.Random(1_000)
        raw = sorted(NOW_MS - days * DAY_MS + chance.randrange(3_600_000) for days in (30, 90) for _ in range(20))
        base = Base(
            events={"purchase": Events(array("q", raw), {"amount": [round(chance.uniform(0, 200), 2) for _ in raw]})},
            spans=tuple(
                SpanState(NOW_MS - old * DAY_MS, NOW_MS - new * DAY_MS, {f"{index:012x}": 10**10 for index in range(3)})
                for old, new in ((400, 90), (90, 30), (30, 0))
            ),
        )

        assert bytes_a_record(redis_url, base, 3_600_000) <= 1_024


def bytes_a_record(redis_url: str, base: Base, horizon_ms: int) -> float:
    """The memory that a record with this base adds to Redis: the mean of many, allocator and key table included."""
    records = 2_000
    stamp = Stamp(1_234, NOW_MS * 1_000, 123_456, NOW_MS, 3, horizon_ms)
    fields = chain.from_iterable(
        [(keys.BASE, base_codec.encode(base)), (keys.STAMP, stamps.encode(stamp)), (keys.LAST, bytes(12))]
    )
    flat = list(fields)
    with redis.Redis.from_url(redis_url) as client:
        before = client.info("memory")["used_memory"]
        sending = client.pipeline(transaction=False)
        for number in range(records):
            sending.execute_command("HSET", keys.record(number % 16, f"user:{number:020d}"), *flat)
        sending.execute()
        return (client.info("memory")["used_memory"] - before) / records
