"""The closed list of functions in SQL, in the order of `functions.FUNCTIONS`.

Numbers come to the same bits as in `values`, each step being one IEEE operation. A function looks at the kinds
of its arguments that it takes, and is null, or false where its sentence says so, for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlglot import exp

from ..rules.bucketing import BUCKETS, HASH_DIGITS
from ..rules.dtypes import Kind
from ..rules.patterns import portable
from ..rules.values import NEAR_MAX, SUMMED_MAX, WHOLE_FROM
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
    string_cell,
    text,
    whole,
)
from .dates import instant_ms
from .query import Reading, Row, Tallied, place

_SMALL = "abcdefghijklmnopqrstuvwxyz"


def contained(row: Row, collection: Cell, item: Cell) -> Sql:
    """Whether a list holds an item equal to the cell; NULL where the collection is no list."""
    items, inner = collection.get("list"), item.get("list")
    if items is None:
        return FALSE
    holds_item = row.engine.list_holds(items, row.engine.json_item(item))
    return holds_item if inner is None else all_of([inner.is_(exp.null()), holds_item])


def _contains(row: Row, subject: Cell, item: Cell) -> Cell:
    tests: list[Sql] = []
    whole_text, part = subject.get("string"), item.get("string")
    if whole_text is not None and part is not None:
        # The first finds the empty string in every engine.
        found = exp.StrPosition(this=whole_text.copy(), substr=part.copy()) > whole(0)
        tests.append(any_of([exp.StartsWith(this=whole_text.copy(), expression=part.copy()), found]))
    if "list" in subject.kinds:
        tests.append(contained(row, subject, item))
    return boolean_cell(coalesced([*tests, FALSE]))


def _affix(node: type[exp.Expr], row: Row, subject: Cell, affix: Cell) -> Cell:
    if "string" not in subject.kinds or "string" not in affix.kinds:
        return boolean_cell(FALSE)
    test: Sql = node(this=subject.kinds["string"].copy(), expression=affix.kinds["string"].copy())  # type: ignore[assignment]
    return boolean_cell(coalesced([test, FALSE]))


def _translated(old: str, new: str, row: Row, subject: Cell) -> Cell:
    value = subject.get("string")
    if value is None:
        return NULL
    return string_cell(exp.Translate(this=value.copy(), from_=text(old), to=text(new)))


def _length(row: Row, subject: Cell) -> Cell:
    if subject.size is not None:
        return number_cell(subject.size, always=subject.always, most=WHOLE_FROM, whole=True)
    lengths: list[Sql] = []
    for kind, value in subject.kinds.items():
        if kind == "string":
            lengths.append(cast(exp.Length(this=value.copy()), "DOUBLE"))
        elif kind == "list":
            lengths.append(cast(row.engine.items(value), "DOUBLE"))
    return number_cell(coalesced(lengths), most=WHOLE_FROM, whole=True) if lengths else NULL


def _abs(row: Row, number: Cell) -> Cell:
    value = number.get("number")
    return NULL if value is None else number_cell(exp.Abs(this=value.copy()), most=number.most, whole=number.whole)


def _round(row: Row, number: Cell, decimals: Cell | None = None) -> Cell:
    value = number.get("number")
    if value is None:
        return NULL
    value = row.bind(value)
    digits = int(float(decimals.kinds["number"].name)) if decimals else 0
    size = row.bind(exp.Abs(this=value.copy()))
    units = double(10.0**digits)
    scaled = row.bind(size * units)
    below, fraction = _parts(row, size)
    told = row.bind(_told(fraction, digits))
    more = row.bind(_told(fraction, digits + 1))
    written = case(
        (any_of([size >= double(WHOLE_FROM), _is_told(below, told, digits, size)]), size),
        (_is_told(below, more, digits + 1, size), below + _tenths(more) / units),
        otherwise=below + _nearest(fraction, digits) / units,
    )
    near = _half_away(row, scaled, digits, size) / units
    to_units = row.bind(case((scaled < double(NEAR_MAX), near), otherwise=written))
    signed = case((value < double(0.0), double(0.0) - to_units), otherwise=to_units)
    return number_cell(signed, most=number.most)


def _millionths(row: Row, number: Cell) -> Cell:
    """In integers: beyond 2^53 no float holds them."""
    value = number.get("number")
    if value is None:
        return NULL
    size = row.bind(exp.Abs(this=value.copy()))
    scaled = row.bind(size * double(1_000_000.0))
    below, fraction = _parts(row, size)
    levels = [(row.bind(_told(fraction, digits)), digits) for digits in range(8)]
    written = case(
        *(
            (_is_told(below, told, digits, size), told * double(10.0 ** (6 - digits)) if digits <= 6 else _tenths(told))
            for told, digits in levels
        ),
        otherwise=_nearest(fraction, 6),
    )
    whole_units = cast(below, "BIGINT") * whole(1_000_000) + cast(written, "BIGINT")
    near = cast(_half_away(row, scaled, 6, size), "BIGINT")
    units = row.bind(case((scaled < double(NEAR_MAX), near), (size <= double(SUMMED_MAX), whole_units)))
    signed = case((value < double(0.0), whole(0) - units), otherwise=units)
    return number_cell(signed, most=SUMMED_MAX * 1_000_000.0, whole=True)


def _half_away(row: Row, scaled: Sql, digits: int, size: Sql) -> Sql:
    """A number below NEAR_MAX in units of so many decimals, half away from zero.

    The tie is compared in the number's own scale: the division gives the float that the tie itself would be written as,
    and up to there no other decimal of as many digits has that float.
    """
    below = row.bind(exp.Floor(this=scaled.copy()))
    tie = exp.paren(below + double(0.5)) / double(10.0**digits)
    return case((size >= tie, below + double(1.0)), otherwise=below)


# From NEAR_MAX a number is taken apart. Its fraction has few bits, so the products below are exact, and it can be tried
# which decimal is the shortest that reads as the number: that is how it is written.


def _parts(row: Row, size: Sql) -> tuple[Sql, Sql]:
    """The whole part of a size, and its fraction."""
    below = row.bind(exp.Floor(this=size.copy()))
    return below, row.bind(size - below)


def _told(fraction: Sql, digits: int) -> Sql:
    """The fraction to so many decimals, half to even, as floats are written; in units of the last of them."""
    even = double(WHOLE_FROM)
    return exp.paren(fraction * double(10.0**digits) + even) - even


def _is_told(below: Sql, told: Sql, digits: int, size: Sql) -> Sql:
    """Whether the number reads as so many decimals."""
    return exp.EQ(this=exp.paren(below + told / double(10.0**digits)), expression=size.copy())


def _tenths(told: Sql) -> Sql:
    """Without the last digit, half up."""
    return exp.Floor(this=exp.paren(told + double(5.0)) / double(10.0))


def _nearest(fraction: Sql, digits: int) -> Sql:
    """The fraction in units of so many decimals, of a number that is written with more than one beyond those."""
    return exp.Floor(this=fraction * double(10.0**digits) + double(0.5))


def _coalesce(row: Row, *values: Cell) -> Cell:
    if all(len(value.kinds) <= 1 for value in values):
        return first_present(values)
    return first_present([row.steps.bind_cell(value) for value in values])


def _if(row: Row, condition: Cell, yes: Cell, no: Cell) -> Cell:
    test = holds(condition)
    kinds = {*yes.kinds, *no.kinds}
    return chosen(row.bind(test) if len(kinds) > 1 else test, yes, no)


def _days_since(row: Row, subject: Cell) -> Cell:
    value = subject.get("string")
    if value is None:
        return NULL
    passed = exp.paren(cast(column("now_ms"), "DOUBLE") - row.bind(instant_ms(row.bind(value), row.bind), "instant"))
    return number_cell(exp.Floor(this=passed / double(DAY_MS)), most=float(END_MS), whole=True)


def _matches(row: Row, subject: Cell, pattern: Cell) -> Cell:
    value = subject.get("string")
    if value is None:
        return boolean_cell(FALSE)
    found = row.engine.matches(value.copy(), text(portable(pattern.kinds["string"].name)))
    return boolean_cell(coalesced([found, FALSE]))


def _bucket(row: Row, salt: Cell) -> Cell:
    """`bucketing.bucket_of`, of the id at hand."""
    salted = call("CONCAT", text(f"{salt.kinds['string'].name}:"), column("id"))
    digits = exp.Substring(this=row.engine.sha256_hex(salted), start=whole(1), length=whole(HASH_DIGITS))
    number = exp.Mod(this=row.bind(row.engine.hex_number(digits), "hash"), expression=whole(BUCKETS))
    return number_cell(cast(number, "DOUBLE"), always=True, most=float(BUCKETS), whole=True)


def _floor(row: Row, number: Cell) -> Cell:
    value = number.get("number")
    return NULL if value is None else number_cell(exp.Floor(this=value.copy()), number.always, number.most, whole=True)


def _only(kinds: tuple[Kind, ...], row: Row, value: Cell) -> Cell:
    return value.only(*kinds)


def _amount(row: Row, total: Cell, count: Cell) -> Cell:
    """`values.amount`, of the integers that were added."""
    assert total.integer is not None, "a total is of an Add"
    divisor: Sql = whole(1_000_000)
    if count.integer is not None:  # else a literal 1
        divisor = row.bind(exp.Nullif(this=count.integer * divisor, expression=whole(0)), "shared")
    return number_cell(row.engine.quotient(row.bind(total.integer, "total"), divisor, row.bind), count.integer is None)


def _most_frequent(row: Row, tally: Tallied) -> Cell:
    kept = tally.kinds.values()
    ranked = exp.select("id", *kept, place([by(column("times"), descending=True), by(column("place"))]))
    table = row.query.add(f"{tally.table}_ranked", ranked.from_(tally.table))
    return row.query.picked(f"{tally.table}_most", table, tally.kinds)


def _percentile(row: Row, tally: Tallied, share: Cell) -> Cell:
    """`values.percentile`: `passed` counts the values up to and including one, `size` all of them."""
    number = tally.kinds["number"]
    so_far = exp.WindowSpec(kind="ROWS", start="UNBOUNDED", start_side="PRECEDING", end="CURRENT ROW")
    times = exp.Sum(this=column("times"))
    passed = exp.Window(
        this=times, partition_by=[column("id")], order=exp.Order(expressions=[by(column("place"))]), spec=so_far
    )
    size = exp.Window(this=times.copy(), partition_by=[column("id")])
    names = row.query.names
    passed_name, size_name, low, high = (
        names.fresh(f"{tally.table}_{part}") for part in ("passed", "size", "low", "high")
    )
    ranks = exp.select(
        "id", number, exp.alias_(cast(passed, "DOUBLE"), passed_name), exp.alias_(cast(size, "DOUBLE"), size_name)
    )
    table = row.query.add(f"{tally.table}_ranks", ranks.from_(tally.table))
    last = column(size_name) - double(1.0)
    below = exp.Floor(this=exp.paren(last) * share.kinds["number"])
    above = exp.Least(this=below + double(1.0), expressions=[last])
    around = [
        exp.alias_(exp.Min(this=case((column(passed_name) > rank, number))), name)
        for rank, name in ((below, low), (above, high))
    ]
    total = exp.alias_(exp.Max(this=column(size_name)), size_name)
    row.query.add(
        f"{tally.table}_around",
        exp.select("id", *around, total).from_(table).group_by("id"),
        joined=[low, high, size_name],
    )
    rank = row.bind(exp.paren(column(size_name) - double(1.0)) * share.kinds["number"], "rank")
    fraction = exp.paren(rank - exp.Floor(this=rank.copy()))
    # What overflows is the difference; closing it there also closes 0 * infinity.
    step = exp.paren(finite(column(high) - column(low)))
    from_low = column(low) + step * fraction
    from_high = column(high) - step.copy() * exp.paren(double(1.0) - fraction.copy())
    return number_cell(case((fraction.copy() < double(0.5), from_low), otherwise=from_high))


#: Function -> (row, its arguments) -> its cell.
FUNCTIONS: dict[str, Callable[..., Cell]] = {
    "contains": _contains,
    "starts_with": partial(_affix, exp.StartsWith),
    "ends_with": partial(_affix, exp.EndsWith),
    "lower": partial(_translated, _SMALL.upper(), _SMALL),
    "upper": partial(_translated, _SMALL, _SMALL.upper()),
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


def called(name: str, row: Row, args: list[Reading]) -> Cell:
    """The cell of a call. Raises LookupError for a function that has no SQL."""
    if name not in FUNCTIONS:
        raise LookupError(f"no SQL for the function {name}")
    return FUNCTIONS[name](row, *args)
