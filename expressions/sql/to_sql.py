"""A definition as one SELECT with a row for every id, for engines where the history already lives.

The nodes of the other executions, in the same order. A node becomes a *cell* (`sql_cells`), a slot under its monoid a
column or a small CTE (`sql_folds`) of the query (`sql_query`), over the events that count (`sql_rows`). No engine is
asked for what engines do differently: time is integers, order is written out, sums are integers, nothing is
approximate.
"""

from __future__ import annotations

from functools import singledispatch
from itertools import islice

from sqlglot import exp

from ..aggregates import AGGREGATES
from ..definitions import Bound
from ..ops import (
    Aggregation,
    And,
    Argument,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    EventDay,
    EventTime,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Now,
    Or,
    Property,
    SegmentRef,
    SlotValue,
    Source,
    TraitRef,
)
from ..plan import Need, needs_of
from ..rules.dtypes import Kind
from ..rules.values import canonical_json, to_json
from ..rules.windows import UTC_ZONE, Zone
from . import engines
from .cells import (
    FALSE,
    NULL,
    TRUE,
    Cell,
    Sql,
    all_of,
    any_of,
    boolean_cell,
    case,
    cast,
    coalesced,
    double,
    equal,
    finite,
    holds,
    is_null,
    negated,
    number_cell,
    ordered,
    text,
)
from .folds import fold
from .functions import called, contained
from .query import Query, Reading, Row

#: The columns of a trait's value.
VALUE_COLUMNS: dict[Kind, tuple[str, str]] = {
    "number": ("number", "DOUBLE"),
    "string": ("string", "TEXT"),
    "boolean": ("boolean", "BOOLEAN"),
    "list": ("json", "TEXT"),
}

#: An expression of so many nodes of SQL becomes a step before it is put into another one.
NODES_MAX = 100


def to_sql(bound: Bound, dialect: str, now_ms: int | None, zone: Zone = UTC_ZONE, table: str = "events") -> str:
    """The SELECT that computes a definition from the events table, for duckdb, bigquery or snowflake.

    One row per id of the table, unordered: `id`; of a trait `number`, `string`, `boolean` and `json` (a list, as JSON
    text), at most one of them not NULL; of a segment or a flag `boolean`; and `exact`, false where a list or a tally
    had more than 10,000 values. `now_ms` None is the engine's clock when the query runs. The table has the columns of
    the lake's `events` that are named in `sql_rows`, and `props` as `sql_engines` says.

    Raises ValueError for another dialect.
    """
    engine = engines.engine(dialect)
    query = Query(engine, zone, now_ms, exp.to_table(table, dialect=dialect))
    result = cell(bound.expr, query.people)
    if bound.definition.kind == "trait":
        values = [exp.alias_(_typed(result, kind), name) for kind, (name, _) in VALUE_COLUMNS.items()]
    else:
        values = [exp.alias_(holds(result), "boolean")]
    return query.select(values).sql(dialect=dialect, pretty=True)


def _typed(result: Cell, kind: Kind) -> Sql:
    value = result.get(kind)
    return cast(exp.null(), VALUE_COLUMNS[kind][1]) if value is None else value


def operand(node: Expr, row: Row) -> Cell:
    """What a node inside another one is: its cell, through a step where that has grown large.

    So neither the work of building the tree nor its depth grows with how deep an author nests.
    """
    result = cell(node, row)
    large = any(sum(1 for _ in islice(value.walk(), NODES_MAX)) == NODES_MAX for value in result.kinds.values())
    return row.steps.bind_cell(result) if large else result


# ── nodes, in the order of ops.py ────────────────────────────────────────────────────────────────────────────────


@singledispatch
def cell(node: Expr, row: Row) -> Cell:
    """What a node is in a row. Raises TypeError for a node that SQL does not know."""
    raise TypeError(f"no SQL for the node {type(node).__name__}")


@cell.register
def _(node: Constant, row: Row) -> Cell:
    match node.value:
        case None:
            return NULL
        case bool():
            return boolean_cell(TRUE if node.value else FALSE)
        case str():
            return Cell({"string": text(node.value)}, always=True)
        case number:
            return number_cell(double(number), always=True, most=abs(number), whole=float(number).is_integer())


@cell.register
def _(node: ListOf, row: Row) -> Cell:
    size = double(len(node.items))
    if all(isinstance(item, Constant) for item in node.items):
        constants = tuple(item.value for item in node.items if isinstance(item, Constant))
        return Cell({"list": text(canonical_json(to_json(constants)))}, always=True, size=size)
    parts: list[Sql] = [text("[")]
    for item in node.items:
        one = row.steps.bind_cell(operand(item, row))
        parts += [*([text(",")] if len(parts) > 1 else []), row.engine.json_item(one)]
    written: Sql = parts[0]
    for part in (*parts[1:], text("]")):
        written = exp.DPipe(this=written, expression=part)
    return Cell({"list": written}, always=True, size=size)


@cell.register
def _(node: Attribute, row: Row) -> Cell:
    return row.query.profile.cell(node.key, node.path)


@cell.register
def _(node: Property, row: Row) -> Cell:
    return row.query.property(node.name)


@cell.register(TraitRef)
@cell.register(SegmentRef)
def _(node: TraitRef | SegmentRef, row: Row) -> Cell:
    raise TypeError(f"{type(node).__name__} {node.key!r} is replaced by its own expression before SQL is made")


@cell.register
def _(node: Aggregation, row: Row) -> Cell:
    slots = {name: read(need, row.query) for name, need in needs_of(node).items()}
    return cell(AGGREGATES[node.aggregate].present, Row(row.query, row.steps, slots=slots))


@cell.register
def _(node: Not, row: Row) -> Cell:
    return boolean_cell(negated(holds(operand(node.operand, row))))


@cell.register
def _(node: And, row: Row) -> Cell:
    return boolean_cell(all_of([holds(operand(node.left, row)), holds(operand(node.right, row))]))


@cell.register
def _(node: Or, row: Row) -> Cell:
    return boolean_cell(any_of([holds(operand(node.left, row)), holds(operand(node.right, row))]))


@cell.register
def _(node: Compare, row: Row) -> Cell:
    left, right = operand(node.left, row), operand(node.right, row)
    if node.op not in ("==", "!="):
        return boolean_cell(ordered(node.op, left, right))
    same = _same(left, right, row)
    return boolean_cell(same if node.op == "==" else negated(same))


def _same(left: Cell, right: Cell, row: Row) -> Sql:
    if "list" in left.kinds and "list" in right.kinds:
        left, right = (_keyed(one, row) for one in (left, right))
    return equal(left, right)


def _keyed(one: Cell, row: Row) -> Cell:
    """The cell with its list as text that is equal for equal lists."""
    return Cell({**one.kinds, "list": row.engine.list_key(one.kinds["list"])}, one.always)


@cell.register
def _(node: In, row: Row) -> Cell:
    item = operand(node.item, row)
    if not isinstance(node.collection, ListOf):
        return boolean_cell(coalesced([contained(row, operand(node.collection, row), item), FALSE]))
    constants = [one.value for one in node.collection.items if isinstance(one, Constant)]
    others = [one for one in node.collection.items if not isinstance(one, Constant)]
    if others or None in constants:
        item = row.steps.bind_cell(item)
    tests = [_is_any(item, [one for one in constants if one is not None])]
    if None in constants:
        tests.append(is_null(item))
    return boolean_cell(any_of([*tests, *(_same(item, operand(one, row), row) for one in others)]))


def _is_any(item: Cell, constants: list[bool | float | str]) -> Sql:
    """Whether the item is one of the constants, kind by kind."""
    literals: dict[Kind, list[Sql]] = {"boolean": [], "number": [], "string": []}
    for one in constants:
        match one:
            case bool():
                literals["boolean"].append(TRUE if one else FALSE)
            case str():
                literals["string"].append(text(one))
            case _:
                literals["number"].append(double(one))
    tests: list[Sql] = [
        item.kinds[kind].isin(*known) for kind, known in literals.items() if known and kind in item.kinds
    ]
    return coalesced([*tests, FALSE]) if tests else FALSE


@cell.register
def _(node: Negate, row: Row) -> Cell:
    inner = operand(node.operand, row)
    value = inner.get("number")
    always = inner.only("number").always
    return NULL if value is None else number_cell(-value, always, inner.most, inner.whole)


@cell.register
def _(node: Arithmetic, row: Row) -> Cell:
    left, right = operand(node.left, row).only("number"), operand(node.right, row).only("number")
    x, y = left.get("number"), right.get("number")
    if x is None or y is None:
        return NULL
    always = left.always and right.always
    match node.op:
        case "+" | "-":
            return _bounded(x + y if node.op == "+" else x - y, always, left, right, left.most + right.most)
        case "*":
            return _bounded(x * y, always, left, right, left.most * right.most)
        case "/":
            never_zero = isinstance(y, exp.Literal) and float(y.name) != 0.0
            quotient = x / (y if never_zero else _null_if_zero(y))
            # A whole divisor is null or at least 1, so the quotient is not greater than the dividend.
            most = left.most if right.whole else float("inf")
            return _bounded(quotient, always and never_zero, left, right, most, fraction=True)
        case "%":
            y = row.bind(y)
            left_over = row.bind(row.engine.remainder(row.bind(x), _null_if_zero(y)))
            zero = double(0.0)
            differs = exp.NEQ(this=exp.paren(left_over < zero), expression=exp.paren(y < zero))
            return number_cell(finite(case((left_over.eq(zero), zero), (differs, left_over + y), otherwise=left_over)))


def _bounded(value: Sql, always: bool, left: Cell, right: Cell, most: float, fraction: bool = False) -> Cell:
    """The result of an operation, tested for overflow (S5) unless the bounds of both sides rule it out."""
    if most < 1e300:
        return number_cell(value, always, most, whole=left.whole and right.whole and not fraction)
    return number_cell(finite(value))


def _null_if_zero(value: Sql) -> Sql:
    return exp.Nullif(this=value.copy(), expression=double(0.0))


@cell.register
def _(node: Call, row: Row) -> Cell:
    return called(node.function, row, [_argument(one, row) for one in node.args])


def _argument(node: Expr, row: Row) -> Reading:
    """A function's argument: a cell, or the tally that a slot reads as."""
    return row.slots[node.name] if isinstance(node, SlotValue) else operand(node, row)


@cell.register
def _(node: Argument, row: Row) -> Cell:
    assert row.argument is not None, "an argument stands only in a lift"
    return row.argument


@cell.register
def _(node: EventTime, row: Row) -> Cell:
    return row.query.time()


@cell.register
def _(node: EventDay, row: Row) -> Cell:
    return row.query.day()


@cell.register
def _(node: SlotValue, row: Row) -> Cell:
    reading = row.slots[node.name]
    assert isinstance(reading, Cell), "a tally is read through a function"
    return reading


@cell.register
def _(node: Now, row: Row) -> Cell:
    return row.query.now()


# ── slots: which events, what each contributes, and how that combines ────────────────────────────────────────────


def read(need: Need, query: Query) -> Reading:
    """What a need reads as for the id at hand. A need that is read twice is computed once."""
    if need not in query.readings:
        source, slot = need.source, need.slot
        argument = boolean_cell(TRUE) if source.property is None else query.property(source.property)
        row = Row(query, query.events.steps, argument=argument)
        wish = "_".join(part for part in (source.event or "any", source.property, slot.name) if part)
        lifted = row.steps.bind_cell(cell(slot.lift, row), wish)
        when = all_of([_matches(source, query), query.within(need.window)])
        query.readings[need] = fold(slot.monoid, query, lifted, when, f"{wish}_{need.window}" if need.window else wish)
    return query.readings[need]


def _matches(source: Source, query: Query) -> Sql:
    """Whether the event at hand is one of the source's."""
    named = query.named(source.event)
    if source.where is None:
        return named
    return query.events.bind(all_of([named, holds(cell(source.where, query.events))]), f"is_{source.event or 'any'}")
