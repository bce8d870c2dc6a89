"""The plain rows of a chunk as rows of `events`, whole columns at a time.

    columns  →  user, name, event_id, original_ts  →  which rows are plain  →  the others' properties, each as
             number, string, boolean and JSON text  →  a table of `events`

A row is plain when user, event, time and id are there in a usual form and nothing about the row could be refused.
`by_row` reads all others one by one. Both make the same of a plain row; a property test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from expressions.batch.dates import instant_ms
from expressions.rules.windows import DAY_MS
from lake.schemas import EVENTS, TYPED
from pipelines.importing.chunks import ERROR, NUMBER, cell_number
from pipelines.importing.terms import Terms
from serving.ids import ID_CHARACTERS_MAX
from serving.ingest.accept import MESSAGE_ID_CHARACTERS_MAX, NAME_CHARACTERS_MAX, PROPERTIES_MAX
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS

_Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

#: The form of ISO 8601 that most programs write.
_USUAL_TIME = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,3})?Z$"
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_FLOATS = (pl.Float32, pl.Float64)

#: Numbers that JSON writes with the same digits: at most 15 of them, no exponent, no zero at the end of a fraction.
_SAME_IN_JSON = r"^-?(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,5}[1-9])$|^-?[1-9][0-9]{0,14}$|^0$"
_TINY = r"^-?0\.000"
#: Characters that JSON escapes, or that may be written in more than one way.
_ESCAPED = r'["\\\x00-\x1f\x7f-\x{9f}]'


def plain_rows(
    columns: Mapping[str, pl.Series], lines: Sequence[int], terms: Terms, *, are_cells: bool
) -> tuple[pa.Table, _Mask]:
    """Rows of `events` made of the plain rows, in their order; and for each row of the chunk whether it is plain.

    `are_cells`: the values are cells of text, and each cell says by itself what it is.
    """
    names = terms.columns
    others = {name: column for name, column in columns.items() if name not in names.own}
    size = len(lines)
    if (
        len(others) > PROPERTIES_MAX
        or any(len(name) > NAME_CHARACTERS_MAX for name in others)
        or any(column.dtype.is_nested() or column.dtype == pl.Object for column in columns.values())
        or ERROR in columns
        or columns[names.event].dtype != pl.String
    ):
        return EVENTS.columns.empty_table(), np.zeros(size, dtype=bool)
    event_ids = _message_ids(columns[names.id]) if names.id else pl.Series([None] * size, dtype=pl.String)
    frame = pl.DataFrame(
        [
            _id_texts(columns[names.user]).alias("user"),
            columns[names.event].alias("name"),
            instants(columns[names.time]).alias("original_ts"),
            event_ids.alias("event_id"),
        ]
    )
    is_plain = (
        _is_text(pl.col("user"), ID_CHARACTERS_MAX)
        & _is_text(pl.col("name"), NAME_CHARACTERS_MAX)
        & pl.col("original_ts").is_not_null()
        & (pl.col("event_id").is_null() | (pl.col("event_id").str.len_chars() <= MESSAGE_ID_CHARACTERS_MAX))
    )
    plain: _Mask = frame.select(is_plain.fill_null(False))["user"].to_numpy().copy()
    if names.id and columns[names.id].dtype not in (pl.String, *_WHOLE):
        plain &= columns[names.id].is_null().to_numpy()
    for column in others.values():
        if column.dtype in _FLOATS:
            plain &= column.is_finite().fill_null(True).to_numpy()
    if not plain.any():
        return EVENTS.columns.empty_table(), plain
    mask = pl.Series(plain)
    fields = {name: _field(column.filter(mask), are_cells) for name, column in others.items()}
    plain_lines = [lines[at] for at in np.flatnonzero(plain).tolist()]
    return _table(frame.filter(mask), plain_lines, fields, terms), plain


def _is_text(text: pl.Expr, characters_max: int) -> pl.Expr:
    """Whether a text is short enough and shows something. A text without visible ASCII is not plain: many blanks are
    outside ASCII."""
    return text.str.contains(r"[!-~]") & (text.str.len_chars() <= characters_max)


def _id_texts(column: pl.Series) -> pl.Series:
    """Ids as text: a whole number without a fraction. Null where an id is not plain."""
    if column.dtype in _FLOATS:
        is_whole = (column == column.floor()) & (column.abs() < 2.0**53)
        column = column.set(~is_whole.fill_null(False), None).cast(pl.Int64, strict=False)
    if column.dtype == pl.String:
        return column
    return column.cast(pl.String) if column.dtype in _WHOLE else pl.Series([None] * len(column), dtype=pl.String)


def _message_ids(column: pl.Series) -> pl.Series:
    """Ids of events as text; null where a row has none."""
    if column.dtype == pl.String:
        return column.set(column.is_in(["", "-"]), None)
    return column.cast(pl.String) if column.dtype in _WHOLE else pl.Series([None] * len(column), dtype=pl.String)


# ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def instants(column: pl.Series) -> pl.Series:
    """Times as UTC milliseconds; null where a value is no time, or has to be read by itself."""
    frame = pl.DataFrame([column.alias("time")])
    time = pl.col("time")
    match column.dtype:
        case pl.String:
            return _text_instants(column)
        case pl.Datetime():
            ms = time.dt.timestamp("us").floordiv(1_000)
        case pl.Date:
            ms = time.cast(pl.Int32).cast(pl.Int64) * DAY_MS
        case kind if kind in _WHOLE:
            ms = time.cast(pl.Int64)
        case kind if kind in _FLOATS:
            is_instant = time.is_finite() & time.is_between(INSTANT_MIN_MS, INSTANT_MAX_MS)
            ms = pl.when(is_instant).then(time.floor()).cast(pl.Int64)
        case _:
            ms = pl.lit(None, dtype=pl.Int64)
    return frame.select(_inside(ms).alias("time"))["time"]


def _inside(ms: pl.Expr) -> pl.Expr:
    """Instants that a calendar has; null for others."""
    return pl.when(ms.is_between(INSTANT_MIN_MS, INSTANT_MAX_MS)).then(ms)


def _text_instants(column: pl.Series) -> pl.Series:
    """Texts as UTC milliseconds: the usual form by the shortest way, all others by the general one."""
    text = pl.col("text")
    parsed = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", strict=False).dt.epoch("ms")
    usual = column.to_frame("text").select(pl.when(text.str.contains(_USUAL_TIME)).then(parsed).alias("ms"))["ms"]
    left = usual.is_null().arg_true()
    if left.is_empty():
        return usual
    digits = pl.when(text.str.contains(r"^-?[0-9]{10,14}$")).then(text.cast(pl.Int64, strict=False))
    general = _inside(pl.coalesce(instant_ms(text), digits)).alias("ms")
    return usual.scatter(left, column.gather(left).to_frame("text").select(general)["ms"])


# ── properties ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _field(column: pl.Series, are_cells: bool) -> pl.DataFrame:
    """number, string, boolean and text (as JSON) of a property; all null where a row does not have it."""
    frame = pl.DataFrame([column.alias("value")])
    value = pl.col("value")
    kinds = {"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "text": pl.String}
    if column.null_count() == len(column):
        return pl.DataFrame([pl.Series(name, [None] * len(column), dtype=kind) for name, kind in kinds.items()])
    if column.dtype == pl.String and are_cells:
        is_number = value.str.contains(NUMBER)
        is_boolean = value.is_in(["true", "false"])
        typed = frame.select(
            pl.when(is_number).then(value).alias("digits"),
            pl.when(is_boolean).then(value == "true").alias("boolean"),
            pl.when((value != "") & ~is_number & ~is_boolean).then(value).alias("string"),
        )
        number = typed.select((pl.col("digits").cast(pl.Float64) + 0.0).alias("number"))["number"]
        texts = [_digits_json(typed["digits"])]
    elif column.dtype in _WHOLE or column.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        typed = frame.with_columns(_null("boolean"), _null("string"))
        number = column.cast(pl.Float64)
        texts = [column.cast(pl.String)]
    elif column.dtype in _FLOATS:
        typed = frame.with_columns(_null("boolean"), _null("string"))
        number = column.cast(pl.Float64)
        texts = [_float_json(number)]
        number = number + 0.0
    elif column.dtype == pl.Boolean:
        typed = frame.with_columns(value.alias("boolean"), _null("string"))
        number, texts = pl.Series([None] * len(column), dtype=pl.Float64), []
    else:
        strings = column if column.dtype == pl.String else _texts(column)
        typed = pl.DataFrame([strings.set(strings == "", None).alias("string")]).with_columns(_null("boolean"))
        number, texts = pl.Series([None] * len(column), dtype=pl.Float64), []
    number = number.set(number == 0.0, 0.0)
    booleans = pl.when(pl.col("boolean")).then(pl.lit("true")).when(~pl.col("boolean")).then(pl.lit("false"))
    texts += [typed.select(booleans.alias("text"))["text"], _string_json(typed["string"])]
    text = pl.select(pl.coalesce(*texts).alias("text"))["text"]
    return pl.DataFrame([number.alias("number"), typed["string"], typed["boolean"], text])


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
    event_ids = [
        terms.event_id(line) if event_id is None else event_id
        for event_id, line in zip(frame["event_id"].to_list(), lines, strict=True)
    ]
    original = frame["original_ts"].to_numpy()
    columns: dict[str, Any] = {
        "ingest_date": pa.array([terms.ingest_date] * size, pa.date32()),
        "shard": pa.array([crc32(id.encode()) % terms.shards for id in ids.to_list()], pa.int32()),
        "event_id": pa.array(event_ids, pa.string()),
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
