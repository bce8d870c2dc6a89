"""The plain rows of a chunk as rows of `events`, whole columns at a time.

    columns  →  user, name, event_id, original_ts  →  which rows are plain  →  the others' properties, each as
             number, string, boolean and JSON text  →  a table of `events`

A row is plain when user, event, time and id are there in a usual form and nothing about the row could be refused.
`by_row` reads all others one by one. Both make the same of a plain row; a property test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from expressions.rules.values import GAPS_FROM
from lake.schemas import EVENTS, TYPED
from pipelines.importing.cells import FORCED_NUMBER, NANS, NUMBER, cell_number, whole_digits
from pipelines.importing.chunk import ERROR
from pipelines.importing.terms import Terms
from pipelines.importing.times import FLOAT_KINDS, WHOLE_KINDS, instants
from serving.ids import ID_CHARACTERS_MAX
from serving.ingest.accept import MESSAGE_ID_CHARACTERS_MAX, NAME_CHARACTERS_MAX, PROPERTIES_MAX
from serving.ingest.event_time import INSTANT_MIN_MS

_Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

#: Numbers that JSON writes with the same digits: at most 15 of them, no exponent, no zero at the end of a fraction.
_SAME_IN_JSON = r"^-?(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,5}[1-9])$|^-?[1-9][0-9]{0,14}$|^0$"
_TINY = r"^-?0\.000"
#: Characters that JSON escapes, or that may be written in more than one way.
_ESCAPED = r'["\\\x00-\x1f\x7f-\x{9f}]'


def plain_rows(
    columns: Mapping[str, pl.Series],
    lines: Sequence[int],
    terms: Terms,
    *,
    are_cells: bool,
    broken: Collection[int] = (),
) -> tuple[pa.Table, _Mask, dict[str, tuple[int, int, str]]]:
    """Rows of `events` made of the plain rows, in their order; for each row of the chunk whether it is plain; and by
    property how many whole numbers of these no float holds, with the line and the digits of the first.

    `are_cells`: the values are cells of text, and each cell says by itself what it is. Rows at `broken` places are not
    plain.
    """
    names, reading = terms.columns, terms.reading
    others = {name: column for name, column in columns.items() if name not in names.own}
    size = len(lines)
    if (
        len(others) > PROPERTIES_MAX
        or any(len(name) > NAME_CHARACTERS_MAX for name in others)
        or any(column.dtype.is_nested() or column.dtype == pl.Object for column in columns.values())
        or ERROR in columns
        or columns[names.event].dtype != pl.String
    ):
        return EVENTS.columns.empty_table(), np.zeros(size, dtype=bool), {}
    nans = NANS if are_cells else ()
    event_ids = _message_ids(columns[names.id], nans) if names.id else pl.Series([None] * size, dtype=pl.String)
    frame = pl.DataFrame(
        [
            _id_texts(columns[names.user]).alias("user"),
            columns[names.event].alias("name"),
            instants(columns[names.time], reading.time_unit).alias("original_ts"),
            event_ids.alias("event_id"),
        ]
    )
    is_plain = (
        _is_text(pl.col("user"), ID_CHARACTERS_MAX, nans)
        & _is_text(pl.col("name"), NAME_CHARACTERS_MAX, nans)
        & pl.col("original_ts").is_not_null()
        & (pl.col("event_id").is_null() | (pl.col("event_id").str.len_chars() <= MESSAGE_ID_CHARACTERS_MAX))
    )
    plain: _Mask = frame.select(is_plain.fill_null(False))["user"].to_numpy().copy()
    plain[list(broken)] = False
    if names.id and columns[names.id].dtype not in (pl.String, *WHOLE_KINDS):
        plain &= columns[names.id].is_null().to_numpy()
    for name, column in others.items():
        is_readable = _is_readable(column, name in reading.number)
        if is_readable is not None:
            plain &= is_readable.to_numpy()
    if not plain.any():
        return EVENTS.columns.empty_table(), plain, {}
    mask = pl.Series(plain)
    plain_lines = [lines[at] for at in np.flatnonzero(plain).tolist()]
    fields, inexact = {}, {}
    for name, column in others.items():
        chosen = column.filter(mask)
        if name in reading.text:
            fields[name] = _text_field(chosen)
            continue
        forced = name in reading.number
        fields[name] = _field(
            chosen.str.strip_chars() if forced and chosen.dtype == pl.String else chosen, are_cells, forced
        )
        large = (fields[name]["number"].abs() >= GAPS_FROM).fill_null(False)
        if large.any():
            found = [(at, whole_digits(chosen[at])) for at in large.arg_true().to_list()]
            whole = [(at, digits) for at, digits in found if digits is not None]
            if whole:
                inexact[name] = (len(whole), plain_lines[whole[0][0]], whole[0][1])
    return _table(frame.filter(mask), plain_lines, fields, terms), plain, inexact


def _is_readable(column: pl.Series, is_number: bool) -> pl.Series | None:
    """Whether each value is one that is read with its column; None if all are."""
    value = pl.col("value")
    match column.dtype:
        case kind if kind in FLOAT_KINDS:
            readable = ~value.is_infinite()
        case pl.Duration():
            readable = (value.dt.total_microseconds().abs() < GAPS_FROM) & ~pl.lit(is_number)
        case pl.String if is_number:
            text = value.str.strip_chars()
            readable = text.is_in(["", *NANS]) | (
                text.str.contains(FORCED_NUMBER) & text.str.strip_prefix("+").cast(pl.Float64, strict=False).is_finite()
            )
        case kind if is_number and not kind.is_numeric():
            readable = value.is_null()
        case _:
            return None
    return column.to_frame("value").select(readable.fill_null(True))["value"]


def _is_text(text: pl.Expr, characters_max: int, nans: Sequence[str]) -> pl.Expr:
    """Whether a text is short enough and shows something. A text without visible ASCII is not plain: many blanks are
    outside ASCII."""
    shows = text.str.contains(r"[!-~]") & (text.str.len_chars() <= characters_max)
    return shows & ~text.is_in(list(nans)) if nans else shows


def _id_texts(column: pl.Series) -> pl.Series:
    """Ids as text: a whole number without a fraction. Null where an id is not plain."""
    if column.dtype in FLOAT_KINDS:
        is_whole = (column == column.floor()) & (column.abs() < 2.0**53)
        column = column.set(~is_whole.fill_null(False), None).cast(pl.Int64, strict=False)
    if column.dtype == pl.String:
        return column
    return column.cast(pl.String) if column.dtype in WHOLE_KINDS else pl.Series([None] * len(column), dtype=pl.String)


def _message_ids(column: pl.Series, nans: Sequence[str]) -> pl.Series:
    """Ids of events as text; null where a row has none."""
    if column.dtype == pl.String:
        return column.set(column.is_in(["", "-", *nans]), None)
    return column.cast(pl.String) if column.dtype in WHOLE_KINDS else pl.Series([None] * len(column), dtype=pl.String)


# ── properties ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _text_field(column: pl.Series) -> pl.DataFrame:
    """The same of a `--text` column: digits stay as they are."""
    field = _field(column, are_cells=False, is_number=False)
    string = field.select(pl.coalesce("string", "text").alias("string"))["string"]
    return field.with_columns(
        pl.lit(None, dtype=pl.Float64).alias("number"),
        string,
        pl.lit(None, dtype=pl.Boolean).alias("boolean"),
        _string_json(string).alias("text"),
    )


def _field(column: pl.Series, are_cells: bool, is_number: bool) -> pl.DataFrame:
    """number, string, boolean and text (as JSON) of a property; all null where a row does not have it."""
    frame = pl.DataFrame([column.alias("value")])
    value = pl.col("value")
    kinds = {"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "text": pl.String}
    if column.null_count() == len(column):
        return pl.DataFrame([pl.Series(name, [None] * len(column), dtype=kind) for name, kind in kinds.items()])
    number = pl.Series([None] * len(column), dtype=pl.Float64)
    texts: list[pl.Series] = []
    if column.dtype == pl.String and (are_cells or is_number):
        digits = pl.when(value.str.contains(FORCED_NUMBER if is_number else NUMBER)).then(value)
        cast = frame.select(digits.alias("digits"), digits.str.strip_prefix("+").cast(pl.Float64).alias("number"))
        is_finite = cast["number"].is_finite().fill_null(False)
        cast = cast.with_columns(pl.when(is_finite).then(pl.all()))
        is_boolean = value.is_in(["true", "false"])
        is_string = (value != "") & ~is_boolean & ~value.is_in(NANS) & ~is_finite
        typed = frame.select(
            pl.when(is_boolean).then(value == "true").alias("boolean"), pl.when(is_string).then(value).alias("string")
        )
        number = cast["number"] + 0.0
        texts = [_digits_json(cast["digits"])]
    elif column.dtype in WHOLE_KINDS or column.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        typed = frame.with_columns(_null("boolean"), _null("string"))
        number = column.cast(pl.Float64)
        texts = [column.cast(pl.String)]
    elif column.dtype in FLOAT_KINDS or column.dtype in (pl.Decimal, pl.Duration):
        typed = frame.with_columns(_null("boolean"), _null("string"))
        number = _numbers(column)
        is_whole = isinstance(column.dtype, pl.Decimal) and column.dtype.scale == 0
        texts = [column.cast(pl.String) if is_whole else _float_json(number)]
        number = number + 0.0
    elif column.dtype == pl.Boolean:
        typed = frame.with_columns(value.alias("boolean"), _null("string"))
    else:
        strings = column if column.dtype == pl.String else _texts(column)
        typed = pl.DataFrame([strings.set(strings == "", None).alias("string")]).with_columns(_null("boolean"))
    number = number.set(number == 0.0, 0.0)
    booleans = pl.when(pl.col("boolean")).then(pl.lit("true")).when(~pl.col("boolean")).then(pl.lit("false"))
    texts += [typed.select(booleans.alias("text"))["text"], _string_json(typed["string"])]
    text = pl.select(pl.coalesce(*texts).alias("text"))["text"]
    return pl.DataFrame([number.alias("number"), typed["string"], typed["boolean"], text])


def _numbers(column: pl.Series) -> pl.Series:
    """Floats without NaN, decimals, and durations in seconds, as numbers."""
    if column.dtype == pl.Decimal:
        return column.cast(pl.String).cast(pl.Float64)
    if column.dtype == pl.Duration:
        return column.dt.total_microseconds().cast(pl.Float64) / 1e6
    return column.cast(pl.Float64).fill_nan(None)


def _null(name: str) -> pl.Expr:
    return pl.lit(None, dtype=pl.Boolean if name == "boolean" else pl.String).alias(name)


def _texts(column: pl.Series) -> pl.Series:
    """Values that JSON does not know as text: dates, decimals, bytes."""
    return pl.Series([_text(value) for value in column.to_arrow().to_pylist()], dtype=pl.String)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if hasattr(value, "isoformat") and hasattr(value, "year") else str(value)


def _digits_json(digits: pl.Series) -> pl.Series:
    text = pl.col(digits.name)
    shortest = text.str.replace(r"(\.[0-9]*?[1-9])0+$", "$1").str.replace(r"\.0+$", ".0")
    return _with_each(
        digits,
        pl.when(shortest.str.contains(_SAME_IN_JSON) & ~shortest.str.contains(_TINY)).then(shortest),
        lambda cell: _json(cell_number(cell)),
    )


def _float_json(numbers: pl.Series) -> pl.Series:
    number = pl.col(numbers.name)
    is_usual = (number.abs() >= 0.001) & (number.abs() < 1e15) | (number.reinterpret(dtype=pl.UInt64) == 0)
    return _with_each(numbers, pl.when(is_usual).then(number.cast(pl.String)), _json)


def _string_json(strings: pl.Series) -> pl.Series:
    text = pl.col(strings.name)
    quoted = pl.concat_str(pl.lit('"'), text, pl.lit('"'))
    return _with_each(strings, pl.when(~text.str.contains(_ESCAPED)).then(quoted), _json)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _with_each(values: pl.Series, usual: pl.Expr, each: Callable[[Any], str]) -> pl.Series:
    """`usual`; and where that is null and the value is not, `each` of the value, computed once a distinct value."""
    texts = pl.DataFrame([values]).select(usual.alias("text"))["text"]
    left = texts.is_null() & values.is_not_null()
    if not left.any():
        return texts
    known: dict[Any, str] = {}
    rest = []
    for value in values.filter(left).to_list():
        key = (value, str(value))  # 0.0 and -0.0 are equal
        if key not in known:
            known[key] = each(value)
        rest.append(known[key])
    return texts.scatter(left.arg_true(), pl.Series(rest, dtype=pl.String))


# ── rows of the lake ─────────────────────────────────────────────────────────────────────────────────────────────────


def _table(frame: pl.DataFrame, lines: Sequence[int], fields: Mapping[str, pl.DataFrame], terms: Terms) -> pa.Table:
    size = len(frame)
    ids = pl.select(pl.concat_str(pl.lit("user:"), frame["user"])).to_series()
    event_ids = frame["event_id"]
    nameless = event_ids.is_null().arg_true()
    if len(nameless):
        made = terms.event_ids(lines[at] for at in nameless.to_list())
        event_ids = event_ids.scatter(nameless, pl.Series(made, dtype=pl.String))
    distinct = ids.to_arrow().dictionary_encode()  # most people have many rows
    shards = [crc32(id.encode()) % terms.shards for id in distinct.dictionary.to_pylist()]
    original = frame["original_ts"].to_numpy()
    columns: dict[str, Any] = {
        "ingest_date": pa.array([terms.ingest_date] * size, pa.date32()),
        "shard": pa.array(shards, pa.int32()).take(distinct.indices),
        "event_id": event_ids.to_arrow(),
        "kind": pa.array(["track"] * size),
        "id_kind": pa.array(["user"] * size),
        "id": ids.to_arrow(),
        "user_id": frame["user"].to_arrow(),
        "name": frame["name"].to_arrow(),
        "ts": pa.array(np.clip(original + terms.shift_ms, INSTANT_MIN_MS, terms.now_ms)),
        "original_ts": pa.array(original),
        "received_at": pa.array(np.full(size, terms.now_ms)),
        "properties": _json_texts(fields, size).to_arrow(),
        "props": _props(fields, size),
        "import_id": pa.array([terms.import_id] * size, pa.string()),
    }
    arrays = []
    for field in EVENTS.columns:
        column = columns.get(field.name)
        if column is None:
            arrays.append(pa.nulls(size, field.type))
        else:
            arrays.append(column if column.type == field.type else column.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=EVENTS.columns)


def _json_texts(fields: Mapping[str, pl.DataFrame], size: int) -> pl.Series:
    """The properties as one JSON object a row; null where there are none."""
    if not fields:
        return pl.Series([None] * size, dtype=pl.String)
    texts = pl.DataFrame([field["text"].alias(f"t{index}") for index, field in enumerate(fields.values())])
    parts = [
        pl.when(pl.col(f"t{index}").is_not_null()).then(pl.concat_str(pl.lit(f"{_json(name)}:"), pl.col(f"t{index}")))
        for index, name in enumerate(fields)
    ]
    joined = pl.concat_str(*parts, separator=",", ignore_nulls=True)
    has_any = pl.any_horizontal(pl.all().is_not_null())
    return texts.select(pl.when(has_any).then(pl.concat_str(pl.lit("{"), joined, pl.lit("}"))).alias("p"))["p"]


def _props(fields: Mapping[str, pl.DataFrame], size: int) -> pa.Array:
    """The properties as the lake's typed map, in the order of the columns.

    1. `has`: rows × fields, whether the row has the field.
    2. The entries of the maps, row by row: the place of each in all fields' values laid end to end.
    3. keys, typed values, and the offset at which each row's entries begin: the map.
    """
    kind = EVENTS.columns.field("props").type
    if not fields:
        return pa.MapArray.from_arrays(np.zeros(size + 1, "i4"), pa.array([], pa.string()), pa.array([], TYPED))
    has = np.column_stack([field["text"].is_not_null().to_numpy() for field in fields.values()])
    rows, numbers = np.nonzero(has)
    places = pa.array(numbers * size + rows)
    children = [
        pa.concat_arrays([field[name].to_arrow().cast(TYPED.field(name).type) for field in fields.values()]).take(
            places
        )
        for name in ("number", "string", "boolean")
    ]
    values = pa.StructArray.from_arrays([*children, pa.nulls(len(places), pa.string())], fields=list(TYPED))
    offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype("i4")
    keys = pa.array(list(fields), pa.string()).take(pa.array(numbers))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values).cast(kind)
