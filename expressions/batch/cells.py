"""What a value of the language is to Polars, whose columns have one type each.

A **cell** holds one Polars expression for each kind that the value may have. In any row at most one of them is not
null; where all are, the value is null. Kinds that cannot occur are left out, as far as types are known. A condition is
never null (S1). A list is a column of tagged keys, one text an item, so that `in` and equality are Polars' own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import msgspec
import polars as pl

from ..rules.dtypes import KINDS, Kind
from ..rules.values import Value, canonical_json, from_json, to_json

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
    """Kind -> Polars expression, for the kinds that may occur."""

    kinds: Mapping[Kind, pl.Expr]

    def get(self, kind: Kind) -> pl.Expr:
        """The expression for a kind; a column of nulls where the value never is one."""
        return self.kinds.get(kind, pl.lit(None, dtype=_TYPES[kind]))

    def only(self, *kinds: Kind) -> Cell:
        """The value where it is of these kinds, else null."""
        return Cell({kind: self.kinds[kind] for kind in kinds if kind in self.kinds})

    def where(self, condition: pl.Expr) -> Cell:
        """The value where a condition holds, else null."""
        return Cell({kind: pl.when(condition).then(value) for kind, value in self.kinds.items()})

    def named(self, prefix: str) -> list[pl.Expr]:
        """The expressions as columns `prefix.kind`."""
        return [value.alias(f"{prefix}.{kind}") for kind, value in self.kinds.items()]

    def columns(self, prefix: str) -> Cell:
        """The cell that reads the columns that `named` made."""
        return Cell({kind: pl.col(f"{prefix}.{kind}") for kind in self.kinds})

    def sort_keys(self) -> list[pl.Expr]:
        """S7: by kind, then by value; lists by their text."""
        rank = pl.coalesce(
            *[pl.when(self.kinds[kind].is_not_null()).then(KINDS.index(kind)) for kind in self.kinds], pl.lit(0)
        )
        return [rank, *(list_texts(value) if kind == "list" else value for kind, value in self.kinds.items())]


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


def boolean_cell(condition: pl.Expr) -> Cell:
    """A cell that holds a condition: true or false, never null."""
    return Cell({"boolean": condition})


def finite_cell(number: pl.Expr) -> Cell:
    """A cell that holds a number; null where the number is not finite (S5)."""
    return Cell({"number": pl.when(number.is_finite()).then(unsigned_zero(number))})


def unsigned_zero(number: pl.Expr) -> pl.Expr:
    """The number with -0.0 as 0.0. Polars would leave out the addition of a zero."""
    return pl.when(number == 0.0).then(0.0).otherwise(number)


# ── conditions ───────────────────────────────────────────────────────────────────────────────────────────────────


def any_of(conditions: Iterable[pl.Expr]) -> pl.Expr:
    """OR; false of no conditions."""
    tests = list(conditions)
    return reduce(lambda left, right: left | right, tests) if tests else pl.lit(False)


def is_null(cell: Cell) -> pl.Expr:
    """Whether the value is null."""
    return reduce(lambda left, right: left & right, [value.is_null() for value in cell.kinds.values()], pl.lit(True))


def holds(cell: Cell) -> pl.Expr:
    """S4: what the value means in a boolean place; a list, even an empty one, is true. Never null."""
    tests = {
        "boolean": lambda value: value.fill_null(False),
        "number": lambda value: (value != 0.0).fill_null(False),
        "string": lambda value: (value != "").fill_null(False),
        "list": lambda value: value.is_not_null(),
    }
    return any_of(tests[kind](value) for kind, value in cell.kinds.items())


def same(left: Cell, right: Cell) -> pl.Expr:
    """S1, S3: equal in type and value; null equals null. Never null."""
    shared = [kind for kind in left.kinds if kind in right.kinds]
    equal = [(left.kinds[kind] == right.kinds[kind]).fill_null(False) for kind in shared]
    return any_of([*equal, is_null(left) & is_null(right)])


# ── lists as tagged keys ─────────────────────────────────────────────────────────────────────────────────────────


def item_key(value: Value) -> str:
    """A list item as text: a letter for its kind, then the value, of a number its bits. Equal texts are equal values.

    Raises TypeError for a list inside a list.
    """
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
    """The JSON texts of a column of lists, by which lists sort (S7)."""
    return keys.map_batches(_texts_of_keys, pl.String)


def _texts_of_keys(lists: pl.Series) -> pl.Series:
    def text(keys: Iterable[str]) -> str:
        return canonical_json([to_json(item_of_key(key)) for key in keys])

    return pl.Series(lists.name, [None if keys is None else text(keys) for keys in lists.to_list()], dtype=pl.String)


def item_keys(cell: Cell) -> pl.Expr:
    """`item_key` of each value of a cell; null for a list."""
    number = unsigned_zero(cell.get("number"))
    return pl.coalesce(
        pl.when(cell.get("boolean").is_not_null()).then(
            pl.when(cell.get("boolean")).then(pl.lit("b1")).otherwise(pl.lit("b0"))
        ),
        pl.lit("n") + number.reinterpret(dtype=pl.Int64).cast(pl.String),
        pl.lit("s") + cell.get("string"),
        pl.when(cell.get("list").is_null()).then(pl.lit("z")),
    )


def holds_item(items: Cell, item: Cell) -> pl.Expr:
    """Whether a list holds an item equal to the cell; false where there is no list. Never null."""
    if "list" not in items.kinds:
        return pl.lit(False)
    return items.kinds["list"].list.contains(item_keys(item)).fill_null(False)
