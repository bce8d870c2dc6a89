"""Rows of history as columns: whole chunks become rows of `events` at once, as far as a row is plain.

A row is plain when user, event, time and id are there in a usual form and nothing about it could be refused. All others
are left to be read one by one (`importing`), which alone knows why a row is refused. What is made of a plain row here
is what would be made of it there; a property test holds both together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, TypeAlias
from zlib import crc32

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from expressions.batch.functions import instant
from expressions.rules.windows import DAY_MS
from lake.schemas import EVENTS, TYPED
from serving.ids import ID_CHARACTERS_MAX
from serving.ingest.accept import MESSAGE_ID_CHARACTERS_MAX, NAME_CHARACTERS_MAX, PROPERTIES_MAX
from serving.ingest.event_time import INSTANT_MAX_MS, INSTANT_MIN_MS

_Mask: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"

#: The form of ISO 8601 that most programs write.
_USUAL_TIME = r"^[12][0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,3})?Z$"
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_FLOATS = (pl.Float32, pl.Float64)

#: A cell of text that is a number, as `importing.cell_value` has it.
NUMBER = r"^-?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|0|[1-9][0-9]*)$"
#: Numbers that JSON writes with the same digits: at most 15 of them, no exponent, no zero at the end of a fraction.
_SAME_IN_JSON = r"^-?(?:0|[1-9][0-9]{0,8})\.(?:0|[0-9]{0,5}[1-9])$|^-?[1-9][0-9]{0,14}$|^0$"
_TINY = r"^-?0\.000"
#: What JSON escapes, and what may differ in how it is written.
_ESCAPED = r'["\\\x00-\x1f\x7f-\x{9f}]'


@dataclass(frozen=True)
class Names:
    """Which column says what; all others become properties."""

    user: str
    event: str
    time: str
    id: str | None


@dataclass(frozen=True)
class Told:
    """What is the same for all rows of an import."""

    identity: str
    shift_ms: int
    now_ms: int
    shards: int


def plain_rows(
    columns: Mapping[str, pl.Series], lines: Sequence[int], names: Names, told: Told, *, are_cells: bool
) -> tuple[pa.Table, _Mask]:
    """Rows of `events` of the plain ones among some rows, in their order, and which ones these are.

    `are_cells`: the values are cells of text, of which each says by itself what it is.
    """
    others = {name: column for name, column in columns.items() if name not in {*_all(names)}}
    size = len(lines)
    if (
        len(others) > PROPERTIES_MAX
        or any(len(name) > NAME_CHARACTERS_MAX for name in others)
        or any(column.dtype.is_nested() or column.dtype == pl.Object for column in columns.values())
        or "__error__" in columns
    ):
        return EVENTS.columns.empty_table(), np.zeros(size, dtype=bool)
    users = _id_texts(columns[names.user])
    times = instants(columns[names.time])
    events = columns[names.event]
    if events.dtype != pl.String:
        return EVENTS.columns.empty_table(), np.zeros(size, dtype=bool)
    frame = pl.DataFrame([users.alias("user"), events.alias("name"), times.alias("original_ts")])
    ids = _message_ids(columns[names.id]) if names.id else pl.Series([None] * size, dtype=pl.String)
    frame = frame.with_columns(ids.alias("event_id"))
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
    chosen = pl.Series(plain)
    fields = {name: _field(column.filter(chosen), are_cells) for name, column in others.items()}
    at = np.flatnonzero(plain)
    return _table(frame.filter(chosen), [lines[one] for one in at.tolist()], fields, told), plain


def _all(names: Names) -> list[str | None]:
    return [names.user, names.event, names.time, names.id]


def _is_text(one: pl.Expr, characters_max: int) -> pl.Expr:
    """Text with something to see in it. What is not ASCII alone is looked at one by one: blanks are many there."""
    return one.str.contains(r"[!-~]") & (one.str.len_chars() <= characters_max)


def _id_texts(column: pl.Series) -> pl.Series:
    """Ids as text: a whole number without a fraction. Null: not plain."""
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


def instants(column: pl.Series) -> pl.Series:
    """Times as UTC milliseconds; null where a value is none, or has to be looked at by itself."""
    frame = pl.DataFrame([column.alias("t")])
    one = pl.col("t")
    match column.dtype:
        case pl.String:
            return _text_instants(column)
        case pl.Datetime():
            found = one.dt.timestamp("us").floordiv(1_000)
        case pl.Date:
            found = one.cast(pl.Int32).cast(pl.Int64) * DAY_MS
        case kind if kind in _WHOLE:
            found = one.cast(pl.Int64)
        case kind if kind in _FLOATS:
            found = (
                pl.when(one.is_finite() & one.is_between(INSTANT_MIN_MS, INSTANT_MAX_MS))
                .then(one.floor())
                .cast(pl.Int64)
            )
        case _:
            found = pl.lit(None, dtype=pl.Int64)
    return frame.select(_inside(found).alias("t"))["t"]


def _inside(found: pl.Expr) -> pl.Expr:
    return pl.when(found.is_between(INSTANT_MIN_MS, INSTANT_MAX_MS)).then(found)


def _text_instants(column: pl.Series) -> pl.Series:
    """The usual form by the shortest way, what is left by the general one."""
    one = pl.col("t")
    parsed = one.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="ms", strict=False).dt.epoch("ms")
    usual = column.to_frame("t").select(pl.when(one.str.contains(_USUAL_TIME)).then(parsed).alias("t"))["t"]
    left = usual.is_null().arg_true()
    if left.is_empty():
        return usual
    digits = pl.when(one.str.contains(r"^-?[0-9]{10,14}$")).then(one.cast(pl.Int64, strict=False))
    found = column.gather(left).to_frame("t").select(_inside(pl.coalesce(instant(one), digits)).alias("t"))["t"]
    return usual.scatter(left, found)


# ── properties ───────────────────────────────────────────────────────────────────────────────────────────────────


def _field(column: pl.Series, are_cells: bool) -> pl.DataFrame:
    """number, string, boolean and text (as JSON) of a property; all null where a row does not have it."""
    frame = pl.DataFrame([column.alias("v")])
    one = pl.col("v")
    nothing = {"number": pl.Float64, "string": pl.String, "boolean": pl.Boolean, "text": pl.String}
    if column.null_count() == len(column):
        return pl.DataFrame([pl.Series(name, [None] * len(column), dtype=kind) for name, kind in nothing.items()])
    if column.dtype == pl.String and are_cells:
        is_number = one.str.contains(NUMBER)
        is_boolean = one.is_in(["true", "false"])
        found = frame.select(
            pl.when(is_number).then(one).alias("digits"),
            pl.when(is_boolean).then(one == "true").alias("boolean"),
            pl.when((one != "") & ~is_number & ~is_boolean).then(one).alias("string"),
        )
        number = found.select((pl.col("digits").cast(pl.Float64) + 0.0).alias("number"))["number"]
        texts = [_digits_json(found["digits"])]
    elif column.dtype in _WHOLE or column.dtype in (pl.UInt64, pl.Int128, pl.UInt128):
        found = frame.with_columns(_null("boolean"), _null("string"))
        number = column.cast(pl.Float64)
        texts = [column.cast(pl.String)]
    elif column.dtype in _FLOATS:
        found = frame.with_columns(_null("boolean"), _null("string"))
        number = column.cast(pl.Float64)
        texts = [_float_json(number)]
        number = number + 0.0
    elif column.dtype == pl.Boolean:
        found = frame.with_columns(one.alias("boolean"), _null("string"))
        number, texts = pl.Series([None] * len(column), dtype=pl.Float64), []
    else:
        strings = column if column.dtype == pl.String else _plain_texts(column)
        found = pl.DataFrame([strings.set(strings == "", None).alias("string")]).with_columns(_null("boolean"))
        number, texts = pl.Series([None] * len(column), dtype=pl.Float64), []
    number = number.set(number == 0.0, 0.0)
    booleans = pl.when(pl.col("boolean")).then(pl.lit("true")).when(~pl.col("boolean")).then(pl.lit("false"))
    said = found.select(booleans.alias("text"))["text"]
    texts += [said, _string_json(found["string"])]
    text = pl.select(pl.coalesce(*texts).alias("text"))["text"]
    return pl.DataFrame([number.alias("number"), found["string"], found["boolean"], text])


def _null(name: str) -> pl.Expr:
    return pl.lit(None, dtype=pl.Boolean if name == "boolean" else pl.String).alias(name)


def _plain_texts(column: pl.Series) -> pl.Series:
    """What has a text form of its own, dates and decimals."""
    return pl.Series([plain_text(value) for value in column.to_arrow().to_pylist()], dtype=pl.String)


def plain_text(value: Any) -> str | None:
    """A scalar that JSON does not know, as text."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.isoformat() if hasattr(value, "isoformat") and hasattr(value, "year") else str(value)


def _digits_json(digits: pl.Series) -> pl.Series:
    one = pl.col(digits.name)
    shortest = one.str.replace(r"(\.[0-9]*?[1-9])0+$", "$1").str.replace(r"\.0+$", ".0")
    return _with_each(
        digits,
        pl.when(shortest.str.contains(_SAME_IN_JSON) & ~shortest.str.contains(_TINY)).then(shortest),
        lambda text: _json(cell_number(text)),
    )


def cell_number(cell: str) -> float | int:
    """The number of a cell of text that is one."""
    return float(cell) if "." in cell or len(cell) >= 19 else int(cell)


def _float_json(numbers: pl.Series) -> pl.Series:
    one = pl.col(numbers.name)
    is_usual = (one.abs() >= 0.001) & (one.abs() < 1e15) | (one.reinterpret(dtype=pl.UInt64) == 0)
    return _with_each(numbers, pl.when(is_usual).then(one.cast(pl.String)), _json)


def _string_json(strings: pl.Series) -> pl.Series:
    one = pl.col(strings.name)
    plain = pl.concat_str(pl.lit('"'), one, pl.lit('"'))
    return _with_each(strings, pl.when(~one.str.contains(_ESCAPED)).then(plain), _json)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _with_each(values: pl.Series, usual: pl.Expr, each: Callable[[Any], str]) -> pl.Series:
    """`usual`, and where that is null and the value is not what `each` makes of it, distinct values once."""
    found = pl.DataFrame([values]).select(usual.alias("text"))["text"]
    left = found.is_null() & values.is_not_null()
    if not left.any():
        return found
    seldom = values.filter(left)
    known: dict[Any, str] = {}
    texts = []
    for value in seldom.to_list():
        key = (value, str(value))  # 0.0 and -0.0 are equal
        if key not in known:
            known[key] = each(value)
        texts.append(known[key])
    return found.scatter(left.arg_true(), pl.Series(texts, dtype=pl.String))


# ── rows of the lake ─────────────────────────────────────────────────────────────────────────────────────────────


def _table(frame: pl.DataFrame, lines: Sequence[int], fields: Mapping[str, pl.DataFrame], told: Told) -> pa.Table:
    size = len(frame)
    users = frame["user"]
    ids = pl.select(pl.concat_str(pl.lit("user:"), users)).to_series()
    begun = f"{told.identity}:".encode()
    event_ids = [
        blake2b(begun + b"%d" % line, digest_size=12).hexdigest() if event_id is None else event_id
        for event_id, line in zip(frame["event_id"].to_list(), lines, strict=True)
    ]
    original = frame["original_ts"].to_numpy()
    received = np.full(size, told.now_ms)
    columns: dict[str, Any] = {
        "ingest_date": pa.array([datetime.fromtimestamp(told.now_ms / 1000, UTC).date()] * size, pa.date32()),
        "shard": pa.array([crc32(one.encode()) % told.shards for one in ids.to_list()], pa.int32()),
        "event_id": pa.array(event_ids, pa.string()),
        "kind": pa.array(["track"] * size),
        "id_kind": pa.array(["user"] * size),
        "id": ids.to_arrow(),
        "user_id": users.to_arrow(),
        "name": frame["name"].to_arrow(),
        "ts": pa.array(np.clip(original + told.shift_ms, INSTANT_MIN_MS, told.now_ms)),
        "original_ts": pa.array(original),
        "received_at": pa.array(received),
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
    """The properties as the lake's typed map, in the order of the columns."""
    kind = EVENTS.columns.field("props").type
    if not fields:
        return pa.MapArray.from_arrays(np.zeros(size + 1, "i4"), pa.array([], pa.string()), pa.array([], TYPED))
    has = np.column_stack([field["text"].is_not_null().to_numpy() for field in fields.values()])
    rows, which = np.nonzero(has)
    taken = pa.array(which * size + rows)
    children = [
        pa.concat_arrays([field[name].to_arrow().cast(TYPED.field(name).type) for field in fields.values()]).take(taken)
        for name in ("number", "string", "boolean")
    ]
    values = pa.StructArray.from_arrays([*children, pa.nulls(len(taken), pa.string())], fields=list(TYPED))
    offsets = np.concatenate([[0], np.cumsum(has.sum(axis=1))]).astype("i4")
    keys = pa.array(list(fields), pa.string()).take(pa.array(which))
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values).cast(kind)
