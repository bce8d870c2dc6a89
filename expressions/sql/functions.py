"""The closed list of functions in SQL, in the order of `functions.FUNCTIONS`.

Numbers come to the same bits as in `values`: each step is one IEEE calculation. A function looks at the kinds of its
arguments that it takes, and is null, or false where its sentence says so, for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from string import ascii_lowercase, ascii_uppercase

from sqlglot import exp

from ..rules.bucketing import BUCKETS, HASH_DIGITS
from ..rules.dtypes import Kind
from ..rules.patterns import portable
from ..rules.values import DATE_CHARACTERS, NEAR_MAX, SUMMED_MAX, WHOLE_FROM
from ..rules.windows import DAY_MS, END_MS
from .cells import (
    FALSE,
    NULL,
    Cell,
    Sql,
    all_of,
    any_of,
    boolean_cell,
    by,
    call,
    case,
    cast,
    chosen,
    coalesced,
    column,
    double,
    finite,
    first_present,
    holds,
    number_cell,
    place,
    string_cell,
    text,
    whole,
)
from .dates import instant_ms
from .query import Reading, Scope, Tallied
from .selects import select


def holds_item(scope: Scope, items: Cell, item: Cell) -> Sql:
    """Whether a list holds an item equal to the cell; NULL where there is no list. A list is no item of a list."""
    whole_list, inner_list = items.get("list"), item.get("list")
    if whole_list is None:
        return FALSE
    is_held = scope.engine.list_holds(whole_list, scope.engine.json_item(item))
    return is_held if inner_list is None else all_of([inner_list.is_(exp.null()), is_held])


def _contains(scope: Scope, subject: Cell, item: Cell) -> Cell:
    tests: list[Sql] = []
    whole_text, part = subject.get("string"), item.get("string")
    if whole_text is not None and part is not None:
        # The test of the beginning finds the empty string in every engine.
        is_inside = exp.StrPosition(this=whole_text.copy(), substr=part.copy()) > whole(0)
        tests.append(any_of([exp.StartsWith(this=whole_text.copy(), expression=part.copy()), is_inside]))
    if "list" in subject.kinds:
        tests.append(holds_item(scope, subject, item))
    return boolean_cell(coalesced([*tests, FALSE]))


def _text_test(node: type[exp.Expr], scope: Scope, subject: Cell, part: Cell) -> Cell:
    if "string" not in subject.kinds or "string" not in part.kinds:
        return boolean_cell(FALSE)
    test: Sql = node(this=subject.kinds["string"].copy(), expression=part.kinds["string"].copy())  # type: ignore[assignment]
    return boolean_cell(coalesced([test, FALSE]))


def _translated(old: str, new: str, scope: Scope, subject: Cell) -> Cell:
    value = subject.get("string")
    if value is None:
        return NULL
    return string_cell(exp.Translate(this=value.copy(), from_=text(old), to=text(new)))


def _length(scope: Scope, subject: Cell) -> Cell:
    if subject.size is not None:
        return number_cell(subject.size, always=subject.always, most=WHOLE_FROM, whole=True)
    lengths: list[Sql] = []
    for kind, value in subject.kinds.items():
        if kind == "string":
            lengths.append(cast(exp.Length(this=value.copy()), "DOUBLE"))
        elif kind == "list":
            lengths.append(cast(scope.engine.items(value), "DOUBLE"))
    return number_cell(coalesced(lengths), most=WHOLE_FROM, whole=True) if lengths else NULL


def _abs(scope: Scope, number: Cell) -> Cell:
    value = number.get("number")
    return NULL if value is None else number_cell(exp.Abs(this=value.copy()), most=number.most, whole=number.whole)


def _round(scope: Scope, number: Cell, decimals: Cell | None = None) -> Cell:
    """`values.rounded`."""
    value = number.get("number")
    if value is None:
        return NULL
    value = scope.let(value)
    digits = int(float(decimals.kinds["number"].name)) if decimals else 0
    size = scope.let(exp.Abs(this=value.copy()))
    units = double(10.0**digits)
    scaled = scope.let(size * units)
    below, fraction = _parts(scope, size)
    tried = scope.let(_tried(fraction, digits))
    more = scope.let(_tried(fraction, digits + 1))
    written = case(
        (any_of([size >= double(WHOLE_FROM), _is_written(below, tried, digits, size)]), size),
        (_is_written(below, more, digits + 1, size), below + _tenths(more) / units),
        otherwise=below + _nearest(fraction, digits) / units,
    )
    near = _half_away(scope, scaled, digits, size) / units
    to_units = scope.let(case((scaled < double(NEAR_MAX), near), otherwise=written))
    signed = case((value < double(0.0), double(0.0) - to_units), otherwise=to_units)
    return number_cell(signed, most=number.most)


def _half_away(scope: Scope, scaled: Sql, digits: int, size: Sql) -> Sql:
    """A number below NEAR_MAX in units of so many decimals, half away from zero.

    The tie is compared in the number's own scale: the division gives the float that the tie is written as, and below
    NEAR_MAX no other decimal of as many digits has that float.
    """
    below = scope.let(exp.Floor(this=scaled.copy()))
    tie = exp.paren(below + double(0.5)) / double(10.0**digits)
    return case((size >= tie, below + double(1.0)), otherwise=below)


# A number from NEAR_MAX on is taken apart. Its fraction has few bits, so the products below are exact. Decimals of more
# and more digits are tried: the first that reads as the number is how the number is written.


def _parts(scope: Scope, size: Sql) -> tuple[Sql, Sql]:
    """The whole part of a size, and its fraction."""
    below = scope.let(exp.Floor(this=size.copy()))
    return below, scope.let(size - below)


def _tried(fraction: Sql, digits: int) -> Sql:
    """The fraction in units of so many decimals, half to even, as floats are written."""
    even = double(WHOLE_FROM)
    return exp.paren(fraction * double(10.0**digits) + even) - even


def _is_written(below: Sql, tried: Sql, digits: int, size: Sql) -> Sql:
    """Whether the number is written with so many decimals: it reads as them."""
    return exp.EQ(this=exp.paren(below + tried / double(10.0**digits)), expression=size.copy())


def _tenths(tried: Sql) -> Sql:
    """The units without their last digit, half up."""
    return exp.Floor(this=exp.paren(tried + double(5.0)) / double(10.0))


def _nearest(fraction: Sql, digits: int) -> Sql:
    """The fraction in units of so many decimals, half up, where it is written with at least two more digits."""
    return exp.Floor(this=fraction * double(10.0**digits) + double(0.5))


def _coalesce(scope: Scope, *values: Cell) -> Cell:
    if all(len(value.kinds) <= 1 for value in values):
        return first_present(values)
    return first_present([scope.steps.let_cell(value) for value in values])


def _if(scope: Scope, condition: Cell, yes: Cell, no: Cell) -> Cell:
    test = holds(condition)
    kinds = {*yes.kinds, *no.kinds}
    return chosen(scope.let(test) if len(kinds) > 1 else test, yes, no)


def _days_since(scope: Scope, subject: Cell) -> Cell:
    """`values.days_since`."""
    value = subject.get("string")
    if value is None:
        return NULL
    value = scope.let(value)
    is_date = exp.Length(this=value.copy()).eq(whole(DATE_CHARACTERS))
    today_ms = cast(scope.query.today(), "DOUBLE") * double(DAY_MS)
    until_ms = scope.let(case((is_date, today_ms), otherwise=cast(column("now_ms"), "DOUBLE")), "until")
    passed = exp.paren(until_ms - scope.let(instant_ms(value, scope.let), "instant"))
    return number_cell(exp.Floor(this=passed / double(DAY_MS)), most=float(END_MS), whole=True)


def _matches(scope: Scope, subject: Cell, pattern: Cell) -> Cell:
    value = subject.get("string")
    if value is None:
        return boolean_cell(FALSE)
    is_found = scope.engine.matches(value.copy(), text(portable(pattern.kinds["string"].name)))
    return boolean_cell(coalesced([is_found, FALSE]))


def _bucket(scope: Scope, salt: Cell) -> Cell:
    """`bucketing.bucket_of`, of the id at hand."""
    salted = call("CONCAT", text(f"{salt.kinds['string'].name}:"), column("id"))
    digits = exp.Substring(this=scope.engine.sha256_hex(salted), start=whole(1), length=whole(HASH_DIGITS))
    number = exp.Mod(this=scope.let(scope.engine.hex_number(digits), "hash"), expression=whole(BUCKETS))
    return number_cell(cast(number, "DOUBLE"), always=True, most=float(BUCKETS), whole=True)


def _floor(scope: Scope, number: Cell) -> Cell:
    value = number.get("number")
    return NULL if value is None else number_cell(exp.Floor(this=value.copy()), number.always, number.most, whole=True)


def _only(kinds: tuple[Kind, ...], scope: Scope, value: Cell) -> Cell:
    return value.only(*kinds)


def _millionths(scope: Scope, number: Cell) -> Cell:
    """`values.millionths`, in integers: beyond 2^53 no float holds them."""
    value = number.get("number")
    if value is None:
        return NULL
    size = scope.let(exp.Abs(this=value.copy()))
    scaled = scope.let(size * double(1_000_000.0))
    below, fraction = _parts(scope, size)
    levels = [(scope.let(_tried(fraction, digits)), digits) for digits in range(8)]
    written = case(
        *(
            (
                _is_written(below, tried, digits, size),
                tried * double(10.0 ** (6 - digits)) if digits <= 6 else _tenths(tried),
            )
            for tried, digits in levels
        ),
        otherwise=_nearest(fraction, 6),
    )
    whole_units = cast(below, "BIGINT") * whole(1_000_000) + cast(written, "BIGINT")
    near = cast(_half_away(scope, scaled, 6, size), "BIGINT")
    units = scope.let(case((scaled < double(NEAR_MAX), near), (size <= double(SUMMED_MAX), whole_units)))
    signed = case((value < double(0.0), whole(0) - units), otherwise=units)
    return number_cell(signed, most=SUMMED_MAX * 1_000_000.0, whole=True)


def _amount(scope: Scope, total: Cell, count: Cell) -> Cell:
    """`values.amount`, of the integers that were added."""
    assert total.integer is not None, "a total is of an Add"
    divisor: Sql = whole(1_000_000)
    if count.integer is not None:  # else a literal 1
        divisor = scope.let(exp.Nullif(this=count.integer * divisor, expression=whole(0)), "shared")
    return number_cell(
        scope.engine.quotient(scope.let(total.integer, "total"), divisor, scope.let), count.integer is None
    )


def _most_frequent(scope: Scope, tally: Tallied) -> Cell:
    """The value with the greatest count, of several the least: of place 1 in that order."""
    columns = [value.copy() for value in tally.kinds.values()]
    order = [by(column("times"), descending=True), by(column("place"))]
    table = scope.query.add(f"{tally.table}_ranked", select(tally.table, "id", *columns, place(order)))
    return scope.query.picked(f"{tally.table}_most", table, tally.kinds)


def _percentile(scope: Scope, tally: Tallied, percent: Cell) -> Cell:
    """`values.percentile`, linear between ranks.

    1. ranks    id, number, passed, size: one row an id and value. `passed` counts the values up to and including it,
                `size` all of them
    2. around   id, low, high, size: one row an id, the values at the ranks below and above
    """
    number = tally.kinds["number"]
    so_far = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
    times = exp.Sum(this=column("times"))
    passed = exp.Window(
        this=times,
        partition_by=[column("id")],
        order=exp.Order(expressions=[scope.engine.by_present(column("place"))]),
        spec=so_far,
    )
    size = exp.Window(this=times.copy(), partition_by=[column("id")])
    names = scope.query.names
    passed_name, size_name, low, high = (
        names.fresh(f"{tally.table}_{part}") for part in ("passed", "size", "low", "high")
    )
    ranks = [exp.alias_(cast(passed, "DOUBLE"), passed_name), exp.alias_(cast(size, "DOUBLE"), size_name)]
    table = scope.query.add(f"{tally.table}_ranks", select(tally.table, "id", number.copy(), *ranks))
    last = column(size_name) - double(1.0)
    below = exp.Floor(this=exp.paren(last) * percent.kinds["number"] / double(100.0))
    above = exp.Least(this=below + double(1.0), expressions=[last])
    around = [
        exp.alias_(exp.Min(this=case((column(passed_name) > rank, number))), name)
        for rank, name in ((below, low), (above, high))
    ]
    total = exp.alias_(exp.Max(this=column(size_name)), size_name)
    scope.query.add(
        f"{tally.table}_around",
        select(table, "id", *around, total, by=["id"]),
        joined=[low, high, size_name],
    )
    position = scope.let(exp.paren(column(size_name) - double(1.0)) * percent.kinds["number"], "position")
    whole_ranks = exp.Floor(this=position / double(100.0))
    hundredths = scope.let(position - whole_ranks * double(100.0), "hundredths")
    # The difference and its product can overflow. Each is closed where it does, which also closes 0 * infinity.
    step = exp.paren(finite(column(high) - column(low)))
    from_low = column(low) + finite(step * hundredths) / double(100.0)
    from_high = column(high) - finite(step.copy() * exp.paren(double(100.0) - hundredths)) / double(100.0)
    return number_cell(case((hundredths.copy() < double(50.0), from_low), otherwise=from_high))


#: Function -> from a scope and its arguments to its cell.
FUNCTIONS: dict[str, Callable[..., Cell]] = {
    "contains": _contains,
    "starts_with": partial(_text_test, exp.StartsWith),
    "ends_with": partial(_text_test, exp.EndsWith),
    "lower": partial(_translated, ascii_uppercase, ascii_lowercase),
    "upper": partial(_translated, ascii_lowercase, ascii_uppercase),
    "length": _length,
    "abs": _abs,
    "round": _round,
    "coalesce": _coalesce,
    "if": _if,
    "days_since": _days_since,
    "matches": _matches,
    "bucket": _bucket,
    "floor": _floor,
    "number": partial(_only, ("number",)),
    "string": partial(_only, ("string",)),
    "scalar": partial(_only, ("boolean", "number", "string")),
    "millionths": _millionths,
    "amount": _amount,
    "most_frequent": _most_frequent,
    "percentile": _percentile,
}


def called(name: str, scope: Scope, args: list[Reading]) -> Cell:
    """The cell of a call. Raises LookupError for a function that has no SQL."""
    if name not in FUNCTIONS:
        raise LookupError(f"no SQL for the function {name}")
    return FUNCTIONS[name](scope, *args)
