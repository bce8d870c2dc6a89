"""The table of aggregates.

An aggregate is a record of **slots** and a **present** expression over them. A slot is a **lift** expression, which
makes a value of an event, and a monoid. No execution knows an aggregate. A new one is an entry here, its cases, and
the oracle's answer in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

from .monoids import Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from .ops import (
    Argument,
    Arithmetic,
    Call,
    Compare,
    Constant,
    EventDay,
    EventTime,
    Expr,
    Now,
    SlotValue,
)
from .rules.windows import DAY_MS, HOUR_MS, MINUTE_MS


@dataclass(frozen=True)
class Slot:
    """A part of an aggregate's state: what an event contributes (null contributes nothing), and how that combines."""

    name: str
    lift: Expr
    monoid: Monoid


@dataclass(frozen=True)
class Aggregate:
    """A named way to summarise events.

    `takes` says whether a property must stand before it ("required") or may ("optional"). An aggregate with `dates`
    looks back over calendar dates, so its windows are in days only. `says` is its meaning in a sentence.
    """

    name: str
    slots: tuple[Slot, ...]
    present: Expr
    says: str
    takes: str = "required"
    dates: bool = False


def _call(function: str, *args: Expr) -> Call:
    return Call(function, args)


_ARGUMENT = Argument()
_NUMBER = _call("number", _ARGUMENT)
_STRING = _call("string", _ARGUMENT)
_SCALAR = _call("scalar", _ARGUMENT)
_NULL = Constant(None)


def _one_if_present(value: Expr) -> Expr:
    return _call("if", Compare("!=", value, _NULL), Constant(1.0), _NULL)


def _if_present(value: Expr) -> Expr:
    return _call("if", Compare("!=", _ARGUMENT, _NULL), value, _NULL)


_MILLIONTHS = _call("millionths", _ARGUMENT)
_TOTAL = Slot("total", _MILLIONTHS, Add())
_FIRST_AT = Slot("at", _if_present(EventTime()), Min())
_LAST_AT = Slot("at", _if_present(EventTime()), Max())
_SEEN = Slot("seen", _SCALAR, Union())
_TALLY = Slot("tally", _NUMBER, Tally())


def _age(unit_ms: int) -> Expr:
    return _call("floor", Arithmetic("/", Arithmetic("-", Now(), SlotValue("at")), Constant(float(unit_ms))))


def _percentile(percent: float) -> Expr:
    return _call("percentile", SlotValue("tally"), Constant(percent))


_UNITS_MS = {"minutes": MINUTE_MS, "hours": HOUR_MS, "days": DAY_MS}
_SEEN_AT = {"first": _FIRST_AT, "last": _LAST_AT}
#: The aggregates that are ages, and the milliseconds of their units.
AGE_UNITS_MS = {f"{which}_seen_{unit}_ago": _UNITS_MS[unit] for which in _SEEN_AT for unit in _UNITS_MS}


def _ages() -> tuple[Aggregate, ...]:
    return tuple(
        Aggregate(
            f"{which}_seen_{unit}_ago",
            (slot,),
            _age(unit_ms),
            f"Whole {unit} since the {which} such event; null if there was none.",
            takes="optional",
        )
        for which, slot in _SEEN_AT.items()
        for unit, unit_ms in _UNITS_MS.items()
    )


AGGREGATES: dict[str, Aggregate] = {
    aggregate.name: aggregate
    for aggregate in (
        Aggregate(
            "count",
            (Slot("n", _one_if_present(_ARGUMENT), Add()),),
            SlotValue("n"),
            "How many events; with a property, how many that have it.",
            takes="optional",
        ),
        Aggregate(
            "unique_days",
            (Slot("days", _if_present(EventDay()), Union()),),
            _call("length", SlotValue("days")),
            "On how many calendar dates, today included.",
            takes="optional",
            dates=True,
        ),
        Aggregate(
            "sum",
            (_TOTAL,),
            _call("amount", SlotValue("total"), Constant(1.0)),
            "The exact sum of the numbers, to 6 decimals; 0 if there are none.",
        ),
        Aggregate(
            "avg",
            # A number that the sum leaves out (S6) is left out of the mean too.
            (_TOTAL, Slot("n", _one_if_present(_MILLIONTHS), Add())),
            # The total in millionths is divided, since the sum is rounded already: its mean would be rounded twice.
            _call("amount", SlotValue("total"), SlotValue("n")),
            "The mean of the numbers; null if there are none.",
        ),
        Aggregate(
            "min",
            (Slot("number", _NUMBER, Min()), Slot("string", _STRING, Min())),
            _call("coalesce", SlotValue("number"), SlotValue("string")),
            "The least number, or the least string where there is no number.",
        ),
        Aggregate(
            "max",
            (Slot("number", _NUMBER, Max()), Slot("string", _STRING, Max())),
            _call("coalesce", SlotValue("string"), SlotValue("number")),
            "The greatest string, or the greatest number where there is no string.",
        ),
        Aggregate("first", (Slot("at", _ARGUMENT, Earliest()),), SlotValue("at"), "The value of the earliest event."),
        Aggregate("last", (Slot("at", _ARGUMENT, Latest()),), SlotValue("at"), "The value of the latest event."),
        Aggregate("unique", (_SEEN,), _call("length", SlotValue("seen")), "How many distinct values."),
        Aggregate("values", (_SEEN,), SlotValue("seen"), "The distinct values, sorted."),
        Aggregate(
            "most_frequent",
            (Slot("tally", _SCALAR, Tally()),),
            _call("most_frequent", SlotValue("tally")),
            "The value that came most often; of several, the least.",
        ),
        Aggregate("median", (_TALLY,), _percentile(50.0), "The middle number, linear between ranks."),
        Aggregate("p90", (_TALLY,), _percentile(90.0), "The 90th percentile, linear between ranks."),
        Aggregate("p95", (_TALLY,), _percentile(95.0), "The 95th percentile, linear between ranks."),
        Aggregate("p99", (_TALLY,), _percentile(99.0), "The 99th percentile, linear between ranks."),
        *_ages(),
    )
}
