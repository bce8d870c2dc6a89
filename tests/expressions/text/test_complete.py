"""Completions: what the grammar wants at a position, by the names that are known there."""

from __future__ import annotations

import pytest

from expressions.ops import Span
from expressions.rules.dtypes import BOOLEAN, NUMBER, STRING
from expressions.text.complete import COMPLETIONS_MAX, Seen, completions, place_at

SEEN = Seen(
    events={
        "purchase": {"amount": NUMBER, "address.city": STRING, "in": STRING},
        "Order Completed": {"total": NUMBER},
    },
    counts={"purchase": 12_345},
    attributes={("plan",): STRING, ("first name",): STRING, ("home",): frozenset(), ("home", "city"): STRING},
    traits={"orders_30d": NUMBER, "big": BOOLEAN},
    segments=("loyal",),
)


def texts(written: str) -> list[str]:
    """The texts that complete what is written, with the position at `|`."""
    position = written.index("|")
    text = written.replace("|", "")
    return [text[: one.at.start] + one.text + text[one.at.end :] for one in completions(text, position, SEEN)[1]]


@pytest.mark.parametrize(
    ("written", "completed"),
    [
        ("ord|", "orders_30d"),
        ("orders_30d > 1 && big|", "orders_30d > 1 && big"),
        ("events.pur|", "events.purchase"),
        ("events.pur|chase.count", "events.purchase.count"),
        ("events.O|", 'events["Order Completed"]'),
        ("events.|", 'events["Order Completed"]'),
        ('events["Or|', 'events["Order Completed"]'),
        ('events["Or|"].count', 'events["Order Completed"].count'),
        ("events.purchase.am|", "events.purchase.amount"),
        ("events.purchase.whe|", "events.purchase.where("),
        ("events.purchase.cou|", "events.purchase.count"),
        ("events.purchase.count_|", "events.purchase.count_30d"),
        ("events.purchase.unique_days_|", "events.purchase.unique_days_7d"),
        ("events.purchase.amount.su|", "events.purchase.amount.sum"),
        ("events.purchase.address.|", "events.purchase.address.city"),
        ("events.purchase.where(am|", "events.purchase.where(amount"),
        ("events.purchase.where(amount > 1 && address.c|", "events.purchase.where(amount > 1 && address.city"),
        ("events.purchase.where(i|", "events.purchase.where(`in`"),
        ("events.purchase.where(amount > 1).am|", "events.purchase.where(amount > 1).amount"),
        ("events.purchase.where(amount > 1) |", "events.purchase.where(amount > 1) .count"),
        ("profile.pl|", "profile.plan"),
        ("profile.fi|", 'profile["first name"]'),
        ("profile.home.|", "profile.home.city"),
        ('trait("or|', 'trait("orders_30d")'),
        ('trait("or|") > 1', 'trait("orders_30d") > 1'),
        ("segment(|", 'segment("loyal")'),
        ("seg|", 'segment("loyal")'),
        ("round(or|", "round(orders_30d"),
        ("orders_30d |", "orders_30d >="),
        ("last_se|", "last_seen_days_ago"),
        ("a b && c >= && events.pu|", "a b && c >= && events.purchase"),
    ],
)
def test_what_is_written_is_completed(written: str, completed: str) -> None:
    """A completion replaces what is being written, also where mistakes stand before it."""
    assert completed in texts(written)


@pytest.mark.parametrize(
    ("written", "wrong"),
    [
        ("events.purchase.|", "events.purchase.sum"),  # which needs a property
        ("events.purchase.unique_days_|", "events.purchase.unique_days_24h"),  # which counts dates
        ("events.purchase.where(|", "events.purchase.where(orders_30d"),
        ("events.purchase.where(days|", "events.purchase.where(days_since("),
        ("su|", "sum"),  # which needs an event
        ("fl|", "floor("),  # which is internal
    ],
)
def test_what_would_be_refused_is_not_offered(written: str, wrong: str) -> None:
    """The rules of the grammar hold for completions."""
    assert wrong not in texts(written)


@pytest.mark.parametrize("written", ["orders_30d >= 3|", "1 + 30|", "round(orders_30d, 3|", "3|0 < orders_30d"])
def test_a_number_is_no_beginning_of_a_name(written: str) -> None:
    """`orders_30d` has a 3 in it. A list that opened there would stay in the way of whoever types a threshold."""
    assert texts(written) == []


def test_a_completion_says_its_type_and_meaning() -> None:
    """An aggregate has its sentence, a function its signature, an event its count, a trait its type."""
    (function,) = [one for one in completions("roun", 4, SEEN)[1] if one.label == "round"]
    (event,) = completions("events.pur", 10, SEEN)[1]
    (trait,) = completions("orders_", 7, SEEN)[1]

    assert function.signature == "round(number, number?) → number"
    assert function.detail.startswith("The number to so many decimals")
    assert (event.kind, event.detail, event.at) == ("event", "came 12,345 times", Span(7, 10))
    assert (trait.kind, trait.dtype) == ("trait", NUMBER)


def test_a_value_names_what_it_is_compared_with() -> None:
    """So that an editor can ask for examples of that attribute or property."""
    assert place_at("profile.plan == ").compared == {"attribute": "plan"}
    assert place_at("events.x.where(color != ").compared == {"event": "x", "property": "color"}
    assert place_at("events.x.color.last == ").compared == {"event": "x", "property": "color"}
    assert place_at("events.x.color.count == ").compared is None
    assert place_at("profile.plan == 1 && ").compared is None
    assert place_at("if(profile.a, ").call == "if"


def test_completions_are_bounded() -> None:
    """The first of very many names are given, those that begin with what is written before others."""
    many = Seen(traits={f"a_{number}": NUMBER for number in range(300)} | {"z_a": NUMBER, "zz": NUMBER})

    found = completions("z", 1, many)[1]

    assert [one.label for one in found][:2] == ["z_a", "zz"]
    assert len(completions("a", 1, many)[1]) == COMPLETIONS_MAX
