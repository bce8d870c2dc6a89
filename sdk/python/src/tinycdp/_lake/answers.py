"""What every question about the lake gives: a frame, and the card that says what it was made of.

1. structs     for each definition the fields boolean, number, string, list and exact, as the batch answers
2. `Column`    one column. Its type is the definition's, whatever the values are: Float64, String, Boolean, or a list; a
               struct of these where the definition may give values of several kinds, unless the caller chose one
3. `Table`     the columns of all parts of an answer
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import polars as pl

from .._engine import Bound, column_of, dtype_name, present

#: A value as the batch answers it.
_STRUCT = pl.Struct(
    {
        "boolean": pl.Boolean,
        "number": pl.Float64,
        "string": pl.String,
        "list": pl.List(pl.String),
        "exact": pl.Boolean,
    }
)
#: What the card of a Parquet file has behind the file's name, and its name among the metadata inside.
CARD_ENDING, CARD_IN_FILE = ".card.json", "tinycdp.card"

#: Kinds of values that have a column of their own.
SCALARS = ("number", "string", "boolean")
KINDS = (*SCALARS, "list")
#: Kinds of lists that a caller may choose, and of what their items are.
LISTS = {"numbers": "number", "strings": "string", "booleans": "boolean"}


class Answers:
    """The rows of an answer (`frame`), and its data card: source, version, instant, definitions (`card`).

    Polars, pyarrow and DuckDB take it as it is, since it hands out its rows as Arrow does; for pandas it is converted.
    """

    def __init__(self, frame: pl.DataFrame, card: dict[str, Any], unknown: Sequence[str] = ()) -> None:
        self.frame = frame
        #: JSON values only.
        self.card = card | {"rows": len(frame), "columns": {name: str(kind) for name, kind in frame.schema.items()}}
        #: Of `asof` the ids of labels that the lake does not know, as they were given.
        self.unknown = list(unknown)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, column: str) -> pl.Series:
        return self.frame[column]

    def __repr__(self) -> str:
        return repr(self.frame)

    def _repr_html_(self) -> str:
        return self.frame._repr_html_()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.frame.__arrow_c_stream__(requested_schema)

    def to_pandas(self) -> Any:
        """The rows as a pandas DataFrame. Needs pandas."""
        try:
            return self.frame.to_pandas()
        except ModuleNotFoundError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error

    def to_arrow(self) -> Any:
        """The rows as a pyarrow Table."""
        return self.frame.to_arrow()

    def to_duckdb(self, connection: Any = None, name: str = "answers") -> Any:
        """The rows as a table of this name in a connection, by default DuckDB's own; returns the relation."""
        try:
            import duckdb
        except ModuleNotFoundError as error:
            raise ImportError("to_duckdb needs duckdb: pip install duckdb") from error
        connection = duckdb.default_connection() if connection is None else connection
        connection.register(name, self.to_arrow())
        return connection.table(name)

    def to_parquet(self, path: str | Path) -> None:
        """Writes the rows to a file, with the card inside, and the card again beside it: `features.parquet.card.json`.

        An older file of this name is there until the new one is whole. Its card is gone by then, so that no card stands
        beside the rows of another run. The card inside is the file's metadata `tinycdp.card`.
        """
        target = Path(path)
        card = json.dumps(self.card, indent=2, ensure_ascii=False, sort_keys=True)
        beside = target.with_name(target.name + CARD_ENDING)
        unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
        unfinished_card = unfinished.with_name(unfinished.name + CARD_ENDING)
        try:
            self.frame.write_parquet(unfinished, metadata={CARD_IN_FILE: card})
            unfinished_card.write_text(card + "\n", encoding="utf-8")
            beside.unlink(missing_ok=True)
            unfinished.replace(target)
            unfinished_card.replace(beside)
        finally:
            unfinished.unlink(missing_ok=True)
            unfinished_card.unlink(missing_ok=True)


def column_in(bound: Bound) -> str:
    """The column of a definition in what the batch answers."""
    return column_of((bound.definition.kind, bound.definition.key))


# ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Column(NamedTuple):
    """A column of an answer: its name, whose values it has, and the kind that the caller chose, if any."""

    name: str
    bound: Bound
    kind: str | None = None

    @property
    def value(self) -> pl.Expr:
        """The column, from what the batch answers. Its type follows from the definition and the chosen kind alone."""
        kinds = [kind for kind in KINDS if kind in present(self.bound.dtype)]
        match self.kind or (kinds[0] if len(kinds) == 1 else None):
            case "list":
                return self._items
            case str() as kind if kind in LISTS:
                return self._items.list.eval(pl.element().struct.field(LISTS[kind]))
            case str() as kind:
                return self._field(kind)
            case None if kinds:
                fields = [self._field(kind) for kind in SCALARS]
                whole = pl.struct(*fields, self._items.alias("list"))
                return pl.when(self._is_there).then(whole)
            case _:
                return pl.lit(None, dtype=pl.Float64)

    @property
    def is_inexact(self) -> pl.Expr:
        """Whether the value had more than 10,000 distinct values to look at."""
        return ~self._field("exact")

    @property
    def is_of_another_kind(self) -> pl.Expr:
        """Whether the value, or an item of it, is of another kind than the chosen one, so that it is null."""
        if self.kind is None:
            return pl.lit(False)
        is_lost = self._is_there & self.value.is_null()
        if self.kind not in LISTS:
            return is_lost
        kept, given = self.value.list.drop_nulls().list.len(), self._items.list.drop_nulls().list.len()
        return is_lost | (kept != given).fill_null(False)

    def _field(self, name: str) -> pl.Expr:
        return pl.col(column_in(self.bound)).struct.field(name)

    @property
    def _is_there(self) -> pl.Expr:
        return pl.any_horizontal(*(self._field(kind).is_not_null() for kind in (*SCALARS, "list")))

    @property
    def _items(self) -> pl.Expr:
        """The list, each item a struct of number, string and boolean: of the tagged keys that the batch answers."""
        key = pl.element()
        text, tag = key.str.slice(1), key.str.slice(0, 1)
        item = pl.struct(
            pl.when(tag == "n").then(text).cast(pl.Int64).reinterpret(dtype=pl.Float64).alias("number"),
            pl.when(tag == "s").then(text).alias("string"),
            pl.when(tag == "b").then(text == "1").alias("boolean"),
        )
        return self._field("list").list.eval(pl.when(tag != "z").then(item))


def columns_of(named: Mapping[str, Bound], kinds: Mapping[str, str] | None) -> list[Column]:
    """A column for each definition, of the kinds that the caller chose. Raises ValueError for a kind that cannot be."""
    if not isinstance(kinds, Mapping | None):
        raise ValueError(f"kinds {kinds!r}: give names of columns and kinds, as {{'plan': 'string'}}")
    chosen = dict(kinds or {})
    for name, kind in chosen.items():
        if name not in named:
            raise ValueError(f"kinds {name!r}: no trait of this question has that name; they are {', '.join(named)}")
        if kind not in (*SCALARS, *LISTS):
            raise ValueError(f"kinds {name!r}: choose {', '.join((*SCALARS, *LISTS))}; {kind!r} is none of them")
        dtype = named[name].dtype
        if ("list" if kind in LISTS else kind) not in dtype:
            raise ValueError(f"kinds {name!r}: it is never {kind!r}, since its values are {dtype_name(dtype)}")
    return [Column(name, bound, chosen.get(name)) for name, bound in named.items()]


class Table:
    """The parts of an answer as one frame, which has each part's values in their columns as soon as it comes.

    `keys` are the columns that say for whom and when a row is.
    """

    def __init__(self, keys: Mapping[str, Any], columns: Sequence[Column]) -> None:
        self._columns = columns
        self._given = pl.Schema({**keys, **{column_in(column.bound): _STRUCT for column in columns}})
        values = [column.value.alias(f"value {number}") for number, column in enumerate(columns)]
        inexact = [column.is_inexact.alias(f"inexact {number}") for number, column in enumerate(columns)]
        lost = [column.is_of_another_kind.alias(f"lost {number}") for number, column in enumerate(columns)]
        self._read = [*map(pl.col, keys), *values, *inexact, *lost]
        self._parts = [pl.DataFrame(schema=self._given).select(self._read)]

    def add(self, answers: pl.DataFrame) -> None:
        """Adds what the batch answers."""
        self._parts.append(answers.select(*self._given).cast(self._given).select(self._read))

    def frame(self) -> pl.DataFrame:
        """All rows, in the order in which they came: the keys, and for `columns` and `card` all they read."""
        # In one piece: joined with several, a struct's column has nulls that it does not count.
        return pl.concat(self._parts, rechunk=True)

    def columns(self, frame: pl.DataFrame) -> list[pl.Series]:
        """The columns of rows of `frame`, by their names."""
        return [frame[f"value {number}"].alias(column.name) for number, column in enumerate(self._columns)]

    def card(self, frame: pl.DataFrame) -> dict[str, Any]:
        """For a card: of how many rows of `frame` values are inexact, or left out since they are of another kind."""
        return {
            "kinds": {column.name: column.kind for column in self._columns if column.kind is not None},
            "inexact": self._counted("inexact", frame),
            "of_another_kind": self._counted("lost", frame),
        }

    def _counted(self, what: str, frame: pl.DataFrame) -> dict[str, int]:
        counts = {column.name: int(frame[f"{what} {number}"].sum()) for number, column in enumerate(self._columns)}
        return {name: count for name, count in counts.items() if count}
