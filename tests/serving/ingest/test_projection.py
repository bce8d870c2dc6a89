"""A record keeps the part of an event that definitions need, and no more."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from expressions.bases import RawEvent, base_of
from expressions.plan import Projection
from expressions.rules.properties import event_fields
from serving.ingest.projection import projected, tail_payload
from serving.store.logged_event import Accepted, decode, encode
from tests.chance import seeded

PROJECTION = Projection(
    events={"purchase": frozenset({"amount", "item.kind"}), "login": frozenset()},
    attributes=frozenset({"plan", "address"}),
)


def track(name: str, **properties: object) -> Accepted:
    return Accepted("e1", "track", "user:alice", name=name, properties=properties)


def identify(**traits: object) -> Accepted:
    return Accepted("e1", "identify", "user:alice", traits=traits)


def test_a_named_event_keeps_the_properties_that_are_read() -> None:
    """A named event keeps the properties that definitions read, by dotted name, and no others."""
    event = track("purchase", amount=5, item={"kind": "book", "pages": 90}, note="x")

    assert projected(event, PROJECTION) == ("track", "purchase", {"amount": 5, "item.kind": "book"})


def test_an_event_whose_properties_nobody_reads_keeps_its_name() -> None:
    """An event whose properties no definition reads keeps its name, which a count needs."""
    assert projected(track("login", via="sso"), PROJECTION) == ("track", "login", {})


def test_an_event_that_nobody_names_keeps_its_time() -> None:
    """An event that no definition names keeps its time alone, and counts at the root."""
    assert projected(track("hover", amount=5), PROJECTION) == ("track", None, {})


def test_properties_read_at_the_root_are_kept_of_every_event() -> None:
    """Where the root reads a property, named and unnamed events keep it."""
    projection = PROJECTION | Projection(events={None: frozenset({"country"})})

    assert projected(track("hover", country="IT"), projection) == ("track", None, {"country": "IT"})
    assert projected(track("purchase", amount=1, country="IT"), projection) == (
        "track",
        "purchase",
        {"amount": 1, "country": "IT"},
    )


def test_null_properties_are_none() -> None:
    """A null property is left out, since a null is no property anywhere."""
    assert projected(track("purchase", amount=None), PROJECTION) == ("track", "purchase", {})


def test_an_identify_keeps_whole_attributes_and_nulls() -> None:
    """Attributes count whole, and a null is remembered, since it removes the key (S8)."""
    event = identify(plan=None, address={"city": "Rome"}, age=7)

    assert projected(event, PROJECTION) == ("identify", None, {"plan": None, "address": {"city": "Rome"}})


@pytest.mark.parametrize("kind", ["link", "unlink", "delete"])
def test_other_kinds_keep_nothing(kind: str) -> None:
    """Links, unlinks and deletes keep nothing: definitions compute nothing of them."""
    assert projected(Accepted("e1", kind, "user:alice"), PROJECTION) == (kind, None, {})


def test_the_payload_is_an_array_of_three() -> None:
    """The payload is [kind, name, fields] in msgpack."""
    event = track("purchase", amount=5)

    assert msgspec.msgpack.decode(tail_payload(event, PROJECTION)) == ["track", "purchase", {"amount": 5}]


def test_a_tail_of_payloads_is_a_base() -> None:
    """`base_of` makes a base of what a tail keeps."""
    kind, name, fields = projected(track("purchase", amount=5), PROJECTION)

    assert base_of([RawEvent(kind, name, 7, fields)]).events["purchase"].fields == {"amount": [5.0]}


def test_an_accepted_event_comes_back_from_the_log() -> None:
    """The log gives back the whole accepted event, also the parts that no definition reads."""
    event = Accepted(
        "e1", "track", "user:é", "é", None, "Order Completed", 12, {"a": [1, None, {"b": "c"}]}, {}, {"ip": "::1"}
    )

    assert decode(encode(event)) == event


def test_a_number_beyond_64_bits_is_kept_as_the_float_it_is_read_as() -> None:
    """A huge whole number is valid JSON, so it passes through log and record instead of breaking either."""
    event = track("purchase", amount=10**30, note=[{"deep": -(10**20)}, 2**64 - 1])

    assert decode(encode(event)).properties == {"amount": 1e30, "note": [{"deep": -1e20}, 2**64 - 1]}
    assert msgspec.msgpack.decode(tail_payload(event, PROJECTION)) == ["track", "purchase", {"amount": 1e30}]


#: What a float takes in msgpack, and the least that it takes in JSON with the comma before it: 0.5 is read as one.
GROWTH = 9 / 4
#: Greater ones are read as floats.
INTEGERS = st.integers(-(2**63), 2**63)


@seeded
@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), INTEGERS, st.text()),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        ),
    )
)
@example({"a": [0.5] * 1_000})
def test_an_entry_is_bounded_by_its_event(properties: dict[str, object]) -> None:
    """A tail entry takes at most 9/4 of its event's JSON beside the names, also where every property is read."""
    event = track("purchase", **properties)
    flat = event_fields(properties)
    projection = Projection(events={"purchase": frozenset(flat)})

    names = sum(len(name.encode()) + 5 for name in flat)
    fixed = len(tail_payload(track("purchase"), projection))
    assert len(tail_payload(event, projection)) <= GROWTH * len(msgspec.json.encode(properties)) + names + fixed + 4
