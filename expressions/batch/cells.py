"""What a value of the language is to Polars, whose columns have one type each.

A value may be of several kinds, a column is of one. So an expression compiles to a **cell**: for each kind that it may
have an expression, of which at most one is not null in a row. What is known of types prunes kinds. Truth is never null
(S1). A list is a column of tagged keys, one text an item, so that `in` and equality are Polars' own.
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


def truth_cell(condition: pl.Expr) -> Cell:
    """A condition, which is never null (S1), as a cell."""
    return Cell({"boolean": condition})


def number_cell(one: pl.Expr) -> Cell:
    """A number; null where it is not finite (S5)."""
    return Cell({"number": pl.when(one.is_finite()).then(unsigned_zero(one))})


def unsigned_zero(number: pl.Expr) -> pl.Expr:
    """The number with -0.0 as 0.0; Polars leaves out the addition of a zero."""
    return pl.when(number == 0.0).then(0.0).otherwise(number)


def holds(cell: Cell) -> pl.Expr:
    """S4: what a value means in a boolean place; never null."""
    tests = {
        "boolean": lambda one: one.fill_null(False),
        "number": lambda one: (one != 0.0).fill_null(False),
        "string": lambda one: (one != "").fill_null(False),
        "list": lambda one: one.is_not_null(),
    }
    return any_of(tests[kind](one) for kind, one in cell.kinds.items())


def any_of(conditions: Iterable[pl.Expr]) -> pl.Expr:
    """Whether any of some conditions holds."""
    found = list(conditions)
    return reduce(lambda left, right: left | right, found) if found else pl.lit(False)


def same(left: Cell, right: Cell) -> pl.Expr:
    """S1, S3: equal in type and value, or both null; never null."""
    shared = [kind for kind in left.kinds if kind in right.kinds]
    equal = [(left.kinds[kind] == right.kinds[kind]).fill_null(False) for kind in shared]
    return any_of([*equal, left.is_null & right.is_null])


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
    """Whether a list holds an item; never null."""
    if "list" not in items.kinds:
        return pl.lit(False)
    return items.kinds["list"].list.contains(item_keys(item)).fill_null(False)
