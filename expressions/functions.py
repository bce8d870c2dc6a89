"""The closed list of functions: what each takes and gives.

A function gives null for a null first argument and for an argument of a kind that it does not take, unless its sentence
says otherwise. The type check refuses an argument that cannot fit. Internal functions stand only in the table of
aggregates.
"""

from __future__ import annotations

from dataclasses import dataclass

from .rules.dtypes import ANY, BOOLEAN, LIST, NUMBER, SCALAR, STRING, Dtype, nullable


@dataclass(frozen=True)
class Function:
    """A function's arguments, its result, and its meaning in a sentence (`says`), which errors quote.

    The last `optional` arguments may be left out. The last argument of a `variadic` function may repeat. A function
    that `returns` None gives the kinds of its value arguments (coalesce, if).
    """

    name: str
    takes: tuple[Dtype, ...]
    returns: Dtype | None
    says: str
    optional: int = 0
    variadic: bool = False
    internal: bool = False


FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        Function(
            "contains",
            (STRING | LIST, SCALAR),
            BOOLEAN,
            "Whether a string holds another, or a list holds a value; false when it has neither.",
        ),
        Function("starts_with", (STRING, STRING), BOOLEAN, "Whether a string begins with another; else false."),
        Function("ends_with", (STRING, STRING), BOOLEAN, "Whether a string ends with another; else false."),
        Function("lower", (STRING,), nullable(STRING), "The string with A to Z made small; all else stays."),
        Function("upper", (STRING,), nullable(STRING), "The string with a to z made capital; all else stays."),
        Function("length", (STRING | LIST,), nullable(NUMBER), "How many code points, or how many items."),
        Function("abs", (NUMBER,), nullable(NUMBER), "The number without its sign."),
        Function(
            "round",
            (NUMBER, NUMBER),
            nullable(NUMBER),
            "The number to so many decimals (a literal from 0 to 6; 0 if left out), half away from zero.",
            optional=1,
        ),
        Function("coalesce", (ANY, ANY), None, "The first argument that is not null.", variadic=True),
        Function("if", (BOOLEAN, ANY, ANY), None, "The second argument where the first holds (S4), else the third."),
        Function(
            "days_since",
            (STRING,),
            nullable(NUMBER),
            "Whole days from an ISO 8601 date-time to now, floor (without an offset it is UTC); of a date the dates up"
            " to today, in the workspace's zone.",
        ),
        Function(
            "matches",
            (STRING, STRING),
            BOOLEAN,
            "Whether a pattern (a literal, of `expressions.rules.patterns`) is found anywhere in a string; else false.",
        ),
        Function(
            "bucket",
            (STRING,),
            nullable(NUMBER),
            "The person's number from 0 to 99,999 under a salt (a literal): the same for ever, spread evenly.",
        ),
        Function("floor", (NUMBER,), nullable(NUMBER), "The greatest whole number not above.", internal=True),
        Function("number", (ANY,), nullable(NUMBER), "The value where it is a number.", internal=True),
        Function("string", (ANY,), nullable(STRING), "The value where it is a string.", internal=True),
        Function("scalar", (ANY,), SCALAR, "The value where it is no list.", internal=True),
        Function(
            "millionths",
            (ANY,),
            nullable(NUMBER),
            "The number in whole millionths, half away from zero; null beyond 10^12 (S6).",
            internal=True,
        ),
        Function(
            "amount",
            (NUMBER, NUMBER),
            nullable(NUMBER),
            "A total of millionths divided by a count, rounded once; null for a count of 0 (S6).",
            internal=True,
        ),
        Function("most_frequent", (ANY,), SCALAR, "The value of a tally with the greatest count.", internal=True),
        Function(
            "percentile",
            (ANY, NUMBER),
            nullable(NUMBER),
            "The percentile of a tally, linear between ranks.",
            internal=True,
        ),
    )
}
