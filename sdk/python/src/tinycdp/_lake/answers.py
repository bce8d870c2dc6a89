"""What every question about the lake gives: a frame, and the card that says what it was made of.

1. structs     for each trait the fields boolean, number, string, list and exact, as the batch answers
2. `column`    one column of one type: Float64, String, Boolean or a list; a struct where values are of several kinds
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from .._engine import COLUMN_KINDS, Bound, canonical_json, column_of, item_of_key, present, to_json

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
#: What the card of a Parquet file has behind the file's name.
CARD_ENDING = ".card.json"


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
        """Writes the rows to a file, and the card beside it: `features.parquet.card.json`."""
        target = Path(path)
        self.frame.write_parquet(target)
        card = json.dumps(self.card, indent=2, ensure_ascii=False, sort_keys=True)
        target.with_name(target.name + CARD_ENDING).write_text(card + "\n", encoding="utf-8")


def column_in(bound: Bound) -> str:
    """The column of a definition in what the batch answers."""
    return column_of((bound.definition.kind, bound.definition.key))


def joined(parts: Sequence[pl.DataFrame], keys: Mapping[str, Any], bounds: Iterable[Bound]) -> pl.DataFrame:
    """The parts of an answer as one frame, with the columns of `keys` and a struct for each definition."""
    columns = {**keys, **{column_in(bound): _STRUCT for bound in bounds}}
    none = pl.DataFrame(schema=columns)
    return pl.concat([none, *(part.select(*columns).cast(columns) for part in parts)])  # type: ignore[arg-type]


def column(name: str, structs: pl.Series, bound: Bound) -> pl.Series:
    """The values of a definition as a column of one type, named so.

    Where an expression may give values of several kinds, the kinds that are there decide. Several kinds, or lists whose
    items are of several, give a struct of number, string, boolean and json, of which at most one is not null.
    """
    fields = structs.struct
    may_be = [kind for kind in COLUMN_KINDS if kind in present(bound.dtype)]
    there = [kind for kind in may_be if fields.field(kind).null_count() < len(structs)]
    kinds = may_be if len(may_be) == 1 else there or (["number"] if "number" in may_be else may_be[:1])
    if not kinds:
        return pl.Series(name, [None] * len(structs), dtype=pl.Float64)
    if kinds == ["list"]:
        lists = _lists(fields.field("list"))
        if lists is not None:
            return lists.alias(name)
    elif len(kinds) == 1:
        return fields.field(kinds[0]).alias(name)
    json = fields.field("list").map_elements(_list_text, pl.String) if "list" in kinds else None
    parts = [fields.field(kind) for kind in ("number", "string", "boolean")]
    parts.append(pl.Series("json", [None] * len(structs), dtype=pl.String) if json is None else json.alias("json"))
    return pl.DataFrame(parts).to_struct(name)


def _lists(keys: pl.Series) -> pl.Series | None:
    """Lists of tagged keys as lists of their items; None where the items are of several kinds."""
    distinct = keys.explode(empty_as_null=False, keep_nulls=False).unique().drop_nulls().to_list()
    items = {key: item_of_key(key) for key in distinct}
    kinds: set[type] = {type(item) for item in items.values() if item is not None}
    if len(kinds) > 1:
        return None
    types: dict[type, Any] = {bool: pl.Boolean, float: pl.Float64, str: pl.String}
    kind = types[kinds.pop() if kinds else str]
    if not items:
        return keys.cast(pl.List(kind))
    item = pl.element().replace_strict(list(items), list(items.values()), return_dtype=kind)
    return keys.list.eval(item)


def _list_text(keys: Sequence[str]) -> str:
    return canonical_json([to_json(item_of_key(key)) for key in keys])


def inexact(structs: pl.Series) -> int:
    """How many values had more than 10,000 distinct values to look at."""
    return int((~structs.struct.field("exact")).sum())
