"""What engines do differently: properties, lists as JSON text, wide integers, hashes, the current time.

An **engine** is a record of small functions; a new one is an entry in `ENGINES`. Everything else about a dialect is
sqlglot's. The type of the column `props` is the one that suits the engine:

    duckdb      the lake's own: MAP(VARCHAR, STRUCT(number DOUBLE, string VARCHAR, boolean BOOLEAN, json VARCHAR))
    bigquery    a JSON column, one flat object: dotted name -> JSON value
    snowflake   a VARIANT column, the same flat object
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlglot import Dialect, exp

from ..rules.bucketing import HASH_DIGITS
from ..rules.dtypes import Kind
from ..rules.values import WHOLE_FROM
from .cells import Cell, Sql, call, case, cast, column, double, one_zero, text, whole


@dataclass(frozen=True)
class Engine:
    """What one engine does in its own way.

    `field(name)`: kind -> the value of that property of the row; "list" is the JSON text of a list or an object.
    `has(name)`: whether the row has the property, be it an explicit null.
    `integers`: the type that holds the sum of 10^20 numbers of 10^18. `as_double` reads it, correctly rounded.
    `quotient(sum, divisor, let)`: the sum by an integer that is null or above zero, as a double; rounded once where the
    engine can. `let` gives a column for what is read more than once.
    `now_ms()`: the engine's clock in epoch milliseconds, one value throughout a query.
    `remainder(number, divisor)`: of doubles, with the sign of the number; no divisor is zero. Exact where the engine
    has an exact one.
    `quoted(text)`: the string as JSON text.
    `items(list)`: the number of its items. `list_key(list)`: text that is equal for equal lists.
    `list_holds(list, item)`: whether an item, as JSON text, is in the list.
    `matches(text, pattern)`: whether a pattern of `expressions.rules.patterns` is found anywhere in the text.
    `sha256_hex(text)`, `sha1_hex(text)`: of the text in UTF-8. `hex_number(digits)`: the number of 13 such digits.
    `fields_key(props)`: sorts rows by all of their fields; equal where all fields are.
    """

    name: str
    field: Callable[[str], Mapping[Kind, Sql]]
    has: Callable[[str], Sql]
    integers: str
    as_double: Callable[[Sql], Sql]
    quotient: Callable[[Sql, Sql, Callable[[Sql], Sql]], Sql]
    now_ms: Callable[[], Sql]
    remainder: Callable[[Sql, Sql], Sql]
    quoted: Callable[[Sql], Sql]
    items: Callable[[Sql], Sql]
    list_key: Callable[[Sql], Sql]
    list_holds: Callable[[Sql, Sql], Sql]
    matches: Callable[[Sql, Sql], Sql]
    sha256_hex: Callable[[Sql], Sql]
    sha1_hex: Callable[[Sql], Sql]
    hex_number: Callable[[Sql], Sql]
    fields_key: Callable[[Sql], Sql]

    def joined(self, value: Sql, order: Sql) -> Sql:
        """The texts of a group, comma separated, in an order that is never NULL."""
        ordered = exp.Order(this=value.copy(), expressions=[self.by_present(order)])
        return exp.GroupConcat(this=ordered, separator=text(","))

    def by_present(self, order: Sql) -> exp.Ordered:
        """An item of an ORDER BY that is never NULL, for places where some engines do not let NULL be put last."""
        # NULL may go anywhere then: it is put where the engine puts it anyway, so that nothing is written.
        first = Dialect.get_or_raise(self.name).NULL_ORDERING == "nulls_are_small"
        return exp.Ordered(this=order.copy(), desc=False, nulls_first=first)

    def number_json(self, number: Sql) -> Sql:
        """A number as JSON text, as `values.canonical_json` writes it: whole ones without a point."""
        is_whole = exp.and_(
            number.eq(exp.Floor(this=number.copy())), exp.Abs(this=number.copy()) < double(2.0 * WHOLE_FROM)
        )
        return case((is_whole, cast(cast(number, "BIGINT"), "TEXT")), otherwise=cast(number, "TEXT"))

    def json_item(self, cell: Cell) -> Sql:
        """A scalar as JSON text, never NULL. A list inside a list is null."""
        branches: list[tuple[Sql, Sql]] = []
        for kind, value in cell.kinds.items():
            present = exp.not_(value.is_(exp.null()))
            match kind:
                case "boolean":
                    branches += [(value, text("true")), (exp.not_(value), text("false"))]
                case "number":
                    branches.append((present, self.number_json(value)))
                case "string":
                    branches.append((present, self.quoted(value)))
        return case(*branches, otherwise=text("null")) if branches else text("null")


def _props(name: str) -> exp.Bracket:
    return exp.Bracket(this=column("props"), expressions=[text(name)])


# ── DuckDB ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _struct_field(name: str) -> Mapping[Kind, Sql]:
    columns: dict[Kind, str] = {"boolean": "boolean", "number": "number", "string": "string", "list": "json"}
    return {kind: exp.Dot(this=_props(name), expression=exp.to_identifier(part)) for kind, part in columns.items()}


def _through_text(value: Sql) -> Sql:
    """DuckDB rounds twice from HUGEINT to DOUBLE beyond 2^64; its decimal reader rounds once."""
    return cast(cast(value, "TEXT"), "DOUBLE")


def _rounded_once(total: Sql, divisor: Sql, let: Callable[[Sql], Sql]) -> Sql:
    """The quotient as a double, rounded once.

    Where a double holds the total, it is one division. Else it is an integer quotient of 56 bits or more, with the last
    bit set where there is a rest: so the one step that rounds sees on which side of two doubles the quotient lies.
    """
    size = let(exp.Abs(this=total.copy()))
    more = let(case((size < whole(2**76), whole(2**50)), otherwise=whole(2**20)))
    dividend = let(size * more)
    quotient = let(exp.IntDiv(this=dividend, expression=divisor.copy()))
    is_even = exp.EQ(this=exp.Mod(this=quotient.copy(), expression=whole(2)), expression=whole(0))
    has_rest = exp.NEQ(this=exp.Mod(this=dividend.copy(), expression=divisor.copy()), expression=whole(0))
    odd = case((exp.and_(is_even, has_rest), quotient + whole(1)), otherwise=quotient)
    great = let(_through_text(odd) / cast(more, "DOUBLE"))
    signed = case((total < whole(0), double(0.0) - great), otherwise=great)
    return case((size < whole(2**53), cast(total, "DOUBLE") / cast(divisor, "DOUBLE")), otherwise=signed)


DUCKDB = Engine(
    "duckdb",
    field=_struct_field,
    has=lambda name: call("MAP_CONTAINS", column("props"), text(name)),
    integers="INT128",
    as_double=_through_text,
    quotient=_rounded_once,
    now_ms=lambda: call("EPOCH_MS", exp.CurrentTimestamp()),
    remainder=lambda number, divisor: exp.Mod(this=number.copy(), expression=divisor.copy()),
    quoted=lambda value: cast(call("TO_JSON", value), "TEXT"),
    items=lambda value: call("JSON_ARRAY_LENGTH", value),
    # It is read and written again, so that each character is escaped in one way.
    list_key=lambda value: cast(call("JSON", value), "TEXT"),
    list_holds=lambda value, item: call("JSON_CONTAINS", value, item),
    matches=lambda value, pattern: call("REGEXP_MATCHES", value, pattern),
    sha256_hex=lambda value: call("SHA256", value),
    sha1_hex=lambda value: call("SHA1", value),
    hex_number=lambda digits: cast(call("CONCAT", text("0x"), digits), "BIGINT"),
    # Inside a list NULL is the greatest.
    fields_key=lambda fields: call("LIST_SORT", call("MAP_ENTRIES", fields)),
)


# ── BigQuery ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _json_field(name: str) -> Mapping[Kind, Sql]:
    value = _props(name)

    def typed(*types: str) -> Sql:
        return call("JSON_TYPE", value).isin(*(text(name) for name in types))

    return {
        "boolean": case((typed("boolean"), call("LAX_BOOL", value))),
        "number": case((typed("number"), one_zero(call("LAX_FLOAT64", value)))),
        "string": case((typed("string"), call("LAX_STRING", value))),
        "list": case((typed("array", "object"), call("TO_JSON_STRING", value))),
    }


BIGQUERY = Engine(
    "bigquery",
    field=_json_field,
    has=lambda name: exp.not_(_props(name).is_(exp.null())),
    integers="BIGDECIMAL",
    as_double=lambda value: cast(value, "DOUBLE"),
    quotient=lambda total, divisor, let: cast(cast(total, "BIGDECIMAL") / cast(divisor, "BIGDECIMAL"), "DOUBLE"),
    now_ms=lambda: call("UNIX_MILLIS", exp.CurrentTimestamp()),
    # Its MOD takes no floats.
    remainder=lambda number, divisor: number - divisor * call("TRUNC", number / divisor),
    quoted=lambda value: call("TO_JSON_STRING", value),
    items=lambda value: call("ARRAY_LENGTH", call("JSON_QUERY_ARRAY", value)),
    list_key=lambda value: call("TO_JSON_STRING", call("PARSE_JSON", value)),
    list_holds=lambda value, item: exp.In(
        this=item.copy(), unnest=exp.Unnest(expressions=[call("JSON_QUERY_ARRAY", value)])
    ),
    matches=lambda value, pattern: call("REGEXP_CONTAINS", value, pattern),
    sha256_hex=lambda value: call("TO_HEX", call("SHA256", value)),
    sha1_hex=lambda value: call("TO_HEX", call("SHA1", value)),
    hex_number=lambda digits: cast(call("CONCAT", text("0x"), digits), "BIGINT"),
    fields_key=lambda fields: call("TO_JSON_STRING", fields),
)


# ── Snowflake ────────────────────────────────────────────────────────────────────────────────────────────────────


def _variant_field(name: str) -> Mapping[Kind, Sql]:
    value = _props(name)

    def typed(*types: str) -> Sql:
        return call("TYPEOF", value).isin(*(text(name) for name in types))

    return {
        "boolean": case((typed("BOOLEAN"), cast(value, "BOOLEAN"))),
        "number": case((typed("INTEGER", "DECIMAL", "DOUBLE"), one_zero(cast(value, "DOUBLE")))),
        "string": case((typed("VARCHAR"), cast(value, "TEXT"))),
        "list": case((typed("ARRAY", "OBJECT"), call("TO_JSON", value))),
    }


def _parsed(value: Sql) -> Sql:
    return call("PARSE_JSON", value)


SNOWFLAKE = Engine(
    "snowflake",
    field=_variant_field,
    has=lambda name: exp.not_(_props(name).is_(exp.null())),
    integers="DECIMAL(38, 0)",
    as_double=lambda value: cast(value, "DOUBLE"),
    quotient=lambda total, divisor, let: cast(total, "DOUBLE") / cast(divisor, "DOUBLE"),
    now_ms=lambda: call("DATE_PART", column("EPOCH_MILLISECOND"), exp.CurrentTimestamp()),
    remainder=lambda number, divisor: exp.Mod(this=number.copy(), expression=divisor.copy()),
    quoted=lambda value: call("TO_JSON", call("TO_VARIANT", value)),
    items=lambda value: call("ARRAY_SIZE", _parsed(value)),
    list_key=lambda value: call("TO_JSON", _parsed(value)),
    list_holds=lambda value, item: call("ARRAY_CONTAINS", _parsed(item), call("TO_ARRAY", _parsed(value))),
    # Its REGEXP_LIKE wants the whole text to match.
    matches=lambda value, pattern: call("REGEXP_INSTR", value, pattern) > whole(0),
    sha256_hex=lambda value: call("SHA2", value, whole(256)),
    sha1_hex=lambda value: call("SHA1", value),
    hex_number=lambda digits: call("TO_NUMBER", digits, text("X" * HASH_DIGITS)),
    fields_key=lambda fields: call("TO_JSON", fields),
)

ENGINES: dict[str, Engine] = {engine.name: engine for engine in (DUCKDB, BIGQUERY, SNOWFLAKE)}


def engine(dialect: str) -> Engine:
    """The engine of a dialect. Raises ValueError for another dialect; the error names those there are."""
    if dialect not in ENGINES:
        raise ValueError(f"no SQL for {dialect!r}; there is SQL for {', '.join(ENGINES)}")
    return ENGINES[dialect]
