"""The batch execution: nodes and monoids as Polars expressions.

A value may be of several kinds, a column is of one. So an expression compiles to a **cell**: for each kind that it may
have an expression, of which at most one is not null in a row. What is known of types prunes kinds. Truth is never null
(S1). A list is a column of tagged keys, one text an item, so that `in` and equality are Polars' own.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce, singledispatch
from typing import Any

import msgspec
import numpy as np
import polars as pl

from expressions.bucketing import bucket_of
from expressions.dtypes import KINDS, Kind
from expressions.monoids import VALUES_MAX, Add, Earliest, Latest, Max, Min, Monoid, Tally, Union
from expressions.ops import (
    Aggregation,
    And,
    Arithmetic,
    Call,
    Compare,
    Constant,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Or,
    children,
)
from expressions.patterns import portable
from expressions.values import ISO_TIME, SUMMED_MAX, WHOLE_FROM, Value, canonical_json, from_json, order_key, to_json
from expressions.windows import DAY_MS

Leaf = Callable[[Expr], "Cell | None"]

_TYPES: dict[Kind, Any] = {
    "boolean": pl.Boolean,
    "number": pl.Float64,
    "string": pl.String,
    "list": pl.List(pl.String),
}
#: The kinds that have a column, in the order of S7.
COLUMN_KINDS: tuple[Kind, ...] = KINDS[1:]


@dataclass(frozen=True)
class Cell:
    """For each kind that a value may have the expression of that kind; the value is null where all are."""

    kinds: Mapping[Kind, pl.Expr]

    def get(self, kind: Kind) -> pl.Expr:
        """The expression of a kind, a null column where the value never has it."""
        return self.kinds.get(kind, pl.lit(None, dtype=_TYPES[kind]))

    def only(self, *kinds: Kind) -> Cell:
        """The value where it is of one of these kinds."""
        return Cell({kind: self.kinds[kind] for kind in kinds if kind in self.kinds})

    @property
    def is_null(self) -> pl.Expr:
        """Whether the value is null."""
        return reduce(lambda left, right: left & right, [one.is_null() for one in self.kinds.values()], pl.lit(True))

    def where(self, condition: pl.Expr) -> Cell:
        """The value where a condition holds, else null."""
        return Cell({kind: pl.when(condition).then(one) for kind, one in self.kinds.items()})

    def named(self, prefix: str) -> list[pl.Expr]:
        """The expressions as columns `prefix.kind`."""
        return [one.alias(f"{prefix}.{kind}") for kind, one in self.kinds.items()]

    def columns(self, prefix: str) -> Cell:
        """The cell that reads the columns that `named` made."""
        return Cell({kind: pl.col(f"{prefix}.{kind}") for kind in self.kinds})

    def ordered(self) -> list[pl.Expr]:
        """Sort keys that order values of all kinds (S7): the rank of the kind, then the value within it."""
        rank = pl.coalesce(
            *[pl.when(self.kinds[kind].is_not_null()).then(KINDS.index(kind)) for kind in self.kinds], pl.lit(0)
        )
        return [rank, *(list_texts(one) if kind == "list" else one for kind, one in self.kinds.items())]


def typed_cell(entry: pl.Expr) -> Cell:
    """The value of an entry of the lake's map: a struct of number, string, boolean and json."""
    json = entry.struct.field("json")
    return Cell(
        {
            "boolean": entry.struct.field("boolean"),
            "number": entry.struct.field("number"),
            "string": entry.struct.field("string"),
            "list": pl.when(json.str.starts_with("[")).then(json).map_batches(_keys_of_json, pl.List(pl.String)),
        }
    )


# ── lists as tagged keys ─────────────────────────────────────────────────────────────────────────────────────────


def item_key(value: Value) -> str:
    """A list item as text: its kind's letter, and for a number the bits, so that equal texts are equal values."""
    match value:
        case None:
            return "z"
        case bool():
            return "b1" if value else "b0"
        case float():
            return f"n{struct.unpack('<q', struct.pack('<d', value + 0.0))[0]}"
        case str():
            return f"s{value}"
        case _:
            raise TypeError(f"{value!r} is no item of a list")


def item_of_key(key: str) -> Value:
    """The item that a key stands for."""
    match key[0]:
        case "z":
            return None
        case "b":
            return key == "b1"
        case "n":
            value: float = struct.unpack("<d", struct.pack("<q", int(key[1:])))[0]
            return value
        case _:
            return key[1:]


def _keys_of_json(texts: pl.Series) -> pl.Series:
    def keys(text: str) -> list[str]:
        items = from_json(msgspec.json.decode(text))
        assert isinstance(items, tuple), "the text of a list holds one"
        return [item_key(item) for item in items]

    return pl.Series(
        texts.name, [None if text is None else keys(text) for text in texts.to_list()], dtype=pl.List(pl.String)
    )


def list_texts(keys: pl.Expr) -> pl.Expr:
    """The JSON text of a list column, by which lists sort (S7)."""
    return keys.map_batches(_texts_of_keys, pl.String)


def _texts_of_keys(lists: pl.Series) -> pl.Series:
    def text(keys: Iterable[str]) -> str:
        return canonical_json([to_json(item_of_key(key)) for key in keys])

    return pl.Series(lists.name, [None if keys is None else text(keys) for keys in lists.to_list()], dtype=pl.String)


def item_keys(cell: Cell) -> pl.Expr:
    """`item_key` of a cell without lists."""
    number = _unsigned_zero(cell.get("number"))
    return pl.coalesce(
        pl.when(cell.get("boolean").is_not_null()).then(
            pl.when(cell.get("boolean")).then(pl.lit("b1")).otherwise(pl.lit("b0"))
        ),
        pl.lit("n") + number.reinterpret(dtype=pl.Int64).cast(pl.String),
        pl.lit("s") + cell.get("string"),
        pl.when(cell.get("list").is_null()).then(pl.lit("z")),
    )


# ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────────


#: How many levels of an expression are computed as one.
LEVELS = 4


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: `leaf` gives the cell of a node that names columns (None: it names none), `let` makes
    columns of a cell and gives the cell that reads them.

    A cell may be used several times by the node around it (S1 alone asks twice: equal, or both null), which doubles the
    work with each level; what has become a column is computed once. So every few levels become columns, and all that
    is calculated: a remainder of a rounded number was once a query of gigabytes.
    """

    leaf: Leaf
    now_ms: int
    let: Callable[[Cell], Cell] = lambda cell: cell


def compile_cell(node: Expr, scope: Scope) -> Cell:
    """An expression as a cell."""
    found = scope.leaf(node)
    if found is not None:
        return found
    cell = _compiled(node, scope)
    height = _height(node)
    is_heavy = height > 1 and isinstance(node, (Arithmetic, Call))  # rounding uses its number some sixty times
    return scope.let(cell) if is_heavy or height % LEVELS == 0 else cell


def _height(node: Expr) -> int:
    """How many levels are below a node, itself included, down to what names columns."""
    inner = [] if isinstance(node, Aggregation) else [_height(child) for child in children(node)]
    return 1 + max(inner, default=0)


class Lets:
    """A frame to which cells are added as columns, and its `let`.

    Columns that do not read each other are added together: with a step for each of hundreds Polars spends minutes, and
    gigabytes, on the names of columns.
    """

    def __init__(self, frame: pl.LazyFrame) -> None:
        self._frame = frame
        self._steps: list[list[pl.Expr]] = []
        self._step: dict[str, int] = {}
        self._count = 0

    def let(self, cell: Cell) -> Cell:
        """The cell as columns of the frame."""
        self._count += 1
        for one in cell.named(f"let{self._count}"):
            step = 1 + max((self._step.get(name, -1) for name in one.meta.root_names()), default=-1)
            self._step[one.meta.output_name()] = step
            if step == len(self._steps):
                self._steps.append([])
            self._steps[step].append(one)
        return cell.columns(f"let{self._count}")

    @property
    def frame(self) -> pl.LazyFrame:
        """The frame with all columns that were let."""
        return reduce(lambda frame, columns: frame.with_columns(columns), self._steps, self._frame)


@singledispatch
def _compiled(node: Expr, scope: Scope) -> Cell:
    raise TypeError(f"to_polars does not know {type(node).__name__} here")


@_compiled.register
def _(node: Constant, scope: Scope) -> Cell:
    match node.value:
        case None:
            return Cell({})
        case bool():
            return Cell({"boolean": pl.lit(node.value)})
        case float():
            return Cell({"number": pl.lit(node.value, dtype=pl.Float64)})
        case str():
            return Cell({"string": pl.lit(node.value, dtype=pl.String)})


@_compiled.register
def _(node: ListOf, scope: Scope) -> Cell:
    return Cell({"list": pl.lit([item_key(one) for one in _constants(node)], dtype=pl.List(pl.String))})


def _constants(node: ListOf) -> list[Value]:
    return [one.value for one in node.items if isinstance(one, Constant)]


@_compiled.register
def _(node: Not, scope: Scope) -> Cell:
    return _truth(~holds(compile_cell(node.operand, scope)))


@_compiled.register
def _(node: And, scope: Scope) -> Cell:
    return _truth(holds(compile_cell(node.left, scope)) & holds(compile_cell(node.right, scope)))


@_compiled.register
def _(node: Or, scope: Scope) -> Cell:
    return _truth(holds(compile_cell(node.left, scope)) | holds(compile_cell(node.right, scope)))


def _truth(condition: pl.Expr) -> Cell:
    return Cell({"boolean": condition})


def holds(cell: Cell) -> pl.Expr:
    """S4: what a value means in a boolean place; never null."""
    tests = {
        "boolean": lambda one: one.fill_null(False),
        "number": lambda one: (one != 0.0).fill_null(False),
        "string": lambda one: (one != "").fill_null(False),
        "list": lambda one: one.is_not_null(),
    }
    return _any(tests[kind](one) for kind, one in cell.kinds.items())


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    found = list(conditions)
    return reduce(lambda left, right: left | right, found) if found else pl.lit(False)


def _same(left: Cell, right: Cell) -> pl.Expr:
    shared = [kind for kind in left.kinds if kind in right.kinds]
    equal = [(left.kinds[kind] == right.kinds[kind]).fill_null(False) for kind in shared]
    return _any([*equal, left.is_null & right.is_null])


_ORDER: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@_compiled.register
def _(node: Compare, scope: Scope) -> Cell:
    left, right = compile_cell(node.left, scope), compile_cell(node.right, scope)
    if node.op in ("==", "!="):
        return _truth(_same(left, right) if node.op == "==" else ~_same(left, right))
    kinds: list[Kind] = [kind for kind in left.kinds if kind in right.kinds and kind in ("number", "string")]
    compare = _ORDER[node.op]
    return _truth(_any(compare(left.kinds[kind], right.kinds[kind]).fill_null(False) for kind in kinds))


@_compiled.register
def _(node: In, scope: Scope) -> Cell:
    return _truth(_is_in(compile_cell(node.item, scope), node.collection, scope))


def _is_in(item: Cell, collection: Expr, scope: Scope) -> pl.Expr:
    if not isinstance(collection, ListOf):
        items = compile_cell(collection, scope)
        return _holds_item(items, item)
    constants = _constants(collection)
    tests = [item.is_null] if None in constants else []
    for kind, python in (("boolean", bool), ("number", float), ("string", str)):
        wanted = [one for one in constants if type(one) is python]
        if wanted and kind in item.kinds:
            one = item.kinds[kind]  # type: ignore[index]
            tests.append(one.is_in(pl.lit(pl.Series(wanted)).implode()).fill_null(False))
    return _any(tests)


def _holds_item(items: Cell, item: Cell) -> pl.Expr:
    if "list" not in items.kinds:
        return pl.lit(False)
    return items.kinds["list"].list.contains(item_keys(item)).fill_null(False)


@_compiled.register
def _(node: Negate, scope: Scope) -> Cell:
    return _number(-compile_cell(node.operand, scope).get("number"))


@_compiled.register
def _(node: Arithmetic, scope: Scope) -> Cell:
    left = compile_cell(node.left, scope).get("number")
    right = compile_cell(node.right, scope).get("number")
    return _number(_ARITHMETIC[node.op](left, right))


def _quotient(left: pl.Expr, right: pl.Expr | float) -> pl.Expr:
    """One IEEE division. Polars multiplies by the reciprocal of a constant, which rounds twice: 123456789 / 1e6 would
    end in 78899999999. A divisor that depends on the row is divided by.
    """
    return left / (right + left * 0.0)


def _unsigned_zero(number: pl.Expr) -> pl.Expr:
    """The number with -0.0 as 0.0; Polars leaves out the addition of a zero."""
    return pl.when(number == 0.0).then(0.0).otherwise(number)


def _divided(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return pl.when(right != 0.0).then(_quotient(left, right))


def _remainders(columns: Sequence[pl.Series]) -> pl.Series:
    """The exact remainder (S12), which Polars' own is not; NaN by zero and of null."""
    left, right, ids = columns
    with np.errstate(invalid="ignore"):
        found = np.mod(left.to_numpy(), right.to_numpy())
    return pl.Series(left.name, np.broadcast_to(found, len(ids)))


_ARITHMETIC: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _divided,
    # The column tells how many rows there are where both sides are constants.
    "%": lambda left, right: pl.map_batches([left, right, pl.col("id")], _remainders, pl.Float64),
}


def _number(one: pl.Expr) -> Cell:
    """A number; null where it is not finite (S5)."""
    return Cell({"number": pl.when(one.is_finite()).then(_unsigned_zero(one))})


@_compiled.register
def _(node: Call, scope: Scope) -> Cell:
    args = [compile_cell(arg, scope) for arg in node.args]
    if node.function == "days_since":
        return Cell({"number": _days_since(args[0].get("string"), scope.now_ms)})
    if node.function == "bucket":
        return Cell({"number": pl.col("id").map_batches(partial(_buckets, _literal(node.args[0])), pl.Float64)})
    if node.function == "matches":
        found = args[0].get("string").str.contains(portable(_literal(node.args[1])))
        return _truth(found.fill_null(False))
    if node.function == "coalesce":
        return _coalesce(args, scope.let)
    if node.function == "round":
        decimals = node.args[1] if len(node.args) == 2 else Constant(0.0)
        assert isinstance(decimals, Constant) and isinstance(decimals.value, float), "round takes a literal"
        return Cell({"number": _rounded(args[0].get("number"), 10.0 ** int(decimals.value))})
    return FUNCTION[node.function](*args)


def _literal(node: Expr) -> str:
    assert isinstance(node, Constant) and isinstance(node.value, str), "patterns and salts are literals"
    return node.value


def _buckets(salt: str, ids: pl.Series) -> pl.Series:
    return pl.Series(ids.name, [bucket_of(salt, id) for id in ids.to_list()], dtype=pl.Float64)


# ── functions ────────────────────────────────────────────────────────────────────────────────────────────────────


def _if(condition: Cell, then: Cell, otherwise: Cell) -> Cell:
    is_then = holds(condition)
    kinds = [kind for kind in COLUMN_KINDS if kind in then.kinds or kind in otherwise.kinds]
    return Cell({kind: pl.when(is_then).then(then.get(kind)).otherwise(otherwise.get(kind)) for kind in kinds})


#: Choices in each other that are computed as one: with hundreds of them Polars takes minutes to begin.
CHOICES = 16


def _coalesce(cells: Sequence[Cell], let: Callable[[Cell], Cell]) -> Cell:
    found = cells[-1]
    for count, cell in enumerate(reversed(cells[:-1]), 1):
        found = _if(_truth(~cell.is_null), cell, found)
        if count % CHOICES == 0:
            found = let(found)
    return found


def _text_test(test: Callable[[pl.Expr, pl.Expr], pl.Expr]) -> Callable[[Cell, Cell], Cell]:
    return lambda text, part: _truth(test(text.get("string"), part.get("string")).fill_null(False))


def _contains(whole: Cell, part: Cell) -> Cell:
    in_text = whole.get("string").str.contains(part.get("string"), literal=True).fill_null(False)
    return _truth(in_text | _holds_item(whole, part))


_SMALL = [chr(code) for code in range(ord("a"), ord("z") + 1)]
_CAPITAL = [letter.upper() for letter in _SMALL]


def _length(whole: Cell) -> Cell:
    text = whole.get("string").str.len_chars().cast(pl.Float64)
    return Cell({"number": pl.coalesce(text, whole.get("list").list.len().cast(pl.Float64))})


def _half_away(scaled: pl.Expr, units: float, size: pl.Expr) -> pl.Expr:
    """`values.half_away`, term by term."""
    below = scaled.floor()
    up = pl.when(size >= _quotient(below + 0.5, units)).then(below + 1.0).otherwise(below)
    return pl.when(scaled >= WHOLE_FROM).then(scaled).otherwise(up)


def _rounded(number: pl.Expr, units: float) -> pl.Expr:
    size = number.abs()
    scaled = size * units
    whole = _quotient(_half_away(scaled, units, size), units)
    signed = pl.when(number < 0.0).then(-whole).otherwise(whole)
    return pl.when(scaled.is_infinite()).then(number).otherwise(_unsigned_zero(signed))


def _millionths(value: Cell) -> Cell:
    number = value.get("number")
    size = number.abs()
    whole = _half_away(size * 1_000_000.0, 1_000_000.0, size)
    signed = pl.when(number < 0.0).then(-whole).otherwise(whole)
    return Cell({"number": pl.when(size <= SUMMED_MAX).then(signed)})


def instant(text: pl.Expr) -> pl.Expr:
    """`values.instant_ms`: the instant an ISO 8601 text names, in UTC milliseconds, or null."""
    parts = text.str.extract_groups(f"(?-u){ISO_TIME}").struct  # digits are those of ASCII

    def part(index: int) -> pl.Expr:
        return parts.field(str(index))

    def whole(one: pl.Expr) -> pl.Expr:
        return one.cast(pl.Int64, strict=False).fill_null(0)

    date = pl.when(~part(1).str.starts_with("0000")).then(part(1))  # ISO 8601 as Python has it begins in year 1
    days = date.str.to_date("%Y-%m-%d", strict=False).cast(pl.Int32).cast(pl.Int64)
    ms = ((whole(part(2)) * 60 + whole(part(3))) * 60 + whole(part(4))) * 1000
    ms += whole((part(5) + "00").str.slice(0, 3))
    offset = part(6)
    away = whole(offset.str.slice(1, 2)) * 60 + whole(offset.str.slice(-2, 2))
    signed = (
        pl.when(offset.str.starts_with("-")).then(0 - away).when(offset.str.len_bytes() > 1).then(away).otherwise(0)
    )
    return days * DAY_MS + ms - signed * 60_000


def _days_since(text: pl.Expr, now_ms: int) -> pl.Expr:
    return (pl.lit(now_ms, dtype=pl.Int64) - instant(text)).floordiv(DAY_MS).cast(pl.Float64)


FUNCTION: dict[str, Callable[..., Cell]] = {
    "contains": _contains,
    "starts_with": _text_test(lambda text, part: text.str.starts_with(part)),
    "ends_with": _text_test(lambda text, part: text.str.ends_with(part)),
    "lower": lambda text: Cell({"string": text.get("string").str.replace_many(_CAPITAL, _SMALL)}),
    "upper": lambda text: Cell({"string": text.get("string").str.replace_many(_SMALL, _CAPITAL)}),
    "length": _length,
    "abs": lambda number: Cell({"number": number.get("number").abs()}),
    "if": _if,
    "floor": lambda number: Cell({"number": number.get("number").floor()}),
    "number": lambda value: value.only("number"),
    "string": lambda value: value.only("string"),
    "scalar": lambda value: value.only("boolean", "number", "string"),
    "millionths": _millionths,
}
#: What the batch computes while it folds (a tally), or with the node at hand.
FOLDED_FUNCTIONS = frozenset({"most_frequent", "percentile", "round", "days_since", "matches", "bucket", "coalesce"})


# ── monoids ──────────────────────────────────────────────────────────────────────────────────────────────────────
# Two ways to fold. Add, Min and Max are one aggregation each, so all of them share one group-by. The others are a frame
# of their own per need, from rows (by…, ts, v.<kind>…) to one row per group, or for Union and Tally per distinct value.

SIMPLE: dict[type[Monoid], Callable[[pl.Expr], pl.Expr]] = {
    Add: lambda lifted: lifted.cast(pl.Int128).sum(),
    Min: lambda lifted: lifted.min(),
    Max: lambda lifted: lifted.max(),
}


def _first(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    ordered = rows.sort([pl.col("ts"), *cell.ordered()], nulls_last=False)
    return ordered.unique(subset=list(by), keep="first", maintain_order=True)


def _last(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    ordered = rows.sort([pl.col("ts"), *cell.ordered()], nulls_last=False)
    return ordered.unique(subset=list(by), keep="last", maintain_order=True)


def _distinct(rows: pl.LazyFrame, by: Sequence[str], cell: Cell) -> pl.LazyFrame:
    """by…, v.<kind>…, count, place (from 0, in the order of values): at most one value more than may be read."""
    names = [f"v.{kind}" for kind in cell.kinds]
    counted = rows.group_by(*by, *names).agg(pl.len().cast(pl.Int64).alias("count"))
    ordered = counted.sort([*map(pl.col, by), *cell.ordered()], nulls_last=False)
    placed = ordered.with_columns(pl.int_range(pl.len()).over(*by).alias("place"))
    return placed.filter(pl.col("place") <= VALUES_MAX)


FRAMES: dict[type[Monoid], Callable[[pl.LazyFrame, Sequence[str], Cell], pl.LazyFrame]] = {
    Earliest: _first,
    Latest: _last,
    Union: _distinct,
    Tally: _distinct,
}


def most_frequent(values: pl.LazyFrame, cell: Cell) -> pl.LazyFrame:
    """Of `_distinct` frames: per id the value with the greatest count, of several the least."""
    kept = values.filter(pl.col("place") < VALUES_MAX)
    best = kept.filter(pl.col("count") == pl.col("count").max().over("id"))
    return best.filter(pl.col("place") == pl.col("place").min().over("id")).select(
        "id", *[one for one in cell.kinds.values()]
    )


def percentile(values: pl.LazyFrame, share: float) -> pl.LazyFrame:
    """Of `_distinct` frames of numbers: per id `value`, linear between ranks (`values.percentile`)."""
    kept = values.filter(pl.col("place") < VALUES_MAX).sort("id", "place")
    passed = kept.with_columns(
        pl.col("count").cum_sum().over("id").alias("passed"), pl.col("count").sum().over("id").alias("size")
    ).with_columns(((pl.col("size") - 1).cast(pl.Float64) * share).alias("rank"))
    below = pl.col("rank").floor()
    number = pl.col("v.number")
    found = passed.group_by("id").agg(
        number.filter(pl.col("passed") > below).min().alias("low"),
        number.filter(pl.col("passed") > pl.min_horizontal(below + 1, pl.col("size") - 1)).min().alias("high"),
        (pl.col("rank") - below).first().alias("fraction"),
    )
    step, fraction = pl.col("high") - pl.col("low"), pl.col("fraction")
    from_low, from_high = pl.col("low") + step * fraction, pl.col("high") - step * (1.0 - fraction)
    value = pl.when(fraction < 0.5).then(from_low).otherwise(from_high)
    return found.select("id", pl.when(value.is_finite()).then(value).alias("value"))


def scalar_of(row: Mapping[str, Any], prefix: str = "v.") -> Value:
    """The value of a row's `v.<kind>` columns."""
    for kind in COLUMN_KINDS:
        value = row.get(f"{prefix}{kind}")
        if value is not None:
            return tuple(map(item_of_key, value)) if kind == "list" else value  # type: ignore[arg-type]
    return None


def order_key_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The order key of a row's value, as states hold it."""
    return order_key(scalar_of(row))
