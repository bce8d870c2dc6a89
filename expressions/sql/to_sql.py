"""The execution in SQL: a definition as one SELECT with a row for every id, for engines where history already lives.

A node becomes a *cell* (`cells`), computed where a `Scope` says. `functions` has what calls compute, `folds` how
contributions combine, `query` how columns and CTEs are put together. The text of the SELECT goes through these steps:

1. `rows`      once: id, kind, name, ts, props: one row an event that counts, under the id of its person
               ids: id: one row a person. clock: now_ms, and today where a date is needed: one row
2. `query`     seen: id, name, ts, and what is read and computed of each event: one row an event
3. `reading`   folds: id, and a column for each need under Add, Min or Max: one row an id
               a CTE or more for each other need: id, and the columns of its value: one row an id
4. `profile`   profile_KEY: id, and the columns of the attribute: one row an id
5. `query`     answers: id, now_ms, the columns of 3 and 4, and what is computed of them: one row an id
6. `to_sql`    id, the columns of the value, exact: one row an id

No engine is asked for what engines do differently: time is integers, order is written out, sums are integers, nothing
is approximate.
"""

from __future__ import annotations

from functools import singledispatch
from itertools import islice

from sqlglot import exp
from sqlglot.errors import SqlglotError

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
    shared_parts,
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
    finite,
    holds,
    is_null,
    negated,
    number_cell,
    one_zero,
    ordered,
    same,
    text,
)
from .folds import fold
from .functions import called, holds_item
from .query import Query, Reading, Scope

#: The columns of a trait's value.
VALUE_COLUMNS: dict[Kind, tuple[str, str]] = {
    "number": ("number", "DOUBLE"),
    "string": ("string", "TEXT"),
    "boolean": ("boolean", "BOOLEAN"),
    "list": ("json", "TEXT"),
}

#: An expression of so many nodes of SQL becomes a column before it is put into another one.
NODES_MAX = 100


def to_sql(bound: Bound, dialect: str, now_ms: int | None, zone: Zone = UTC_ZONE, table: str = "events") -> str:
    """The text of a SELECT that computes a definition from the events table, for duckdb, bigquery or snowflake.

    Its result has one row for every person in the table, unordered. The columns of a trait are `id`, `number`,
    `string`, `boolean`, `json` (a list, as JSON text) and `exact`; at most one of the value's is not NULL. A segment
    and a flag have `id`, `boolean` and `exact`. `exact` is false where a list or a tally had more than 10,000 values.
    `now_ms` None stands for the engine's clock when the query runs. The table has the columns of the lake's `events`
    that `rows` names, and `props` as `engines` says.

    Raises ValueError for another dialect, for a text that names no table, and for a table that has the name of a part
    of the query.
    """
    engine = engines.engine(dialect)
    source = _table(table, dialect)
    query = Query(engine, zone, now_ms, source, shared_parts(bound.expr))
    result = compile_cell(bound.expr, query.people)
    if bound.definition.kind == "trait":
        values = [exp.alias_(_typed(result, kind), name) for kind, (name, _) in VALUE_COLUMNS.items()]
    else:
        values = [exp.alias_(holds(result), "boolean")]
    return query.written(values)


def _table(text: str, dialect: str) -> exp.Table:
    """The table that a text names, such as events or warehouse.schema.events. An unusual name is put in quotes."""
    try:
        return exp.to_table(text, dialect=dialect)
    except (SqlglotError, ValueError):
        remedy = f"write a name as {dialect} has it, such as events or schema.events"
        raise ValueError(f"{text!r} names no table; {remedy}") from None


def _typed(result: Cell, kind: Kind) -> Sql:
    value = result.get(kind)
    return cast(exp.null(), VALUE_COLUMNS[kind][1]) if value is None else value


def operand(node: Expr, scope: Scope) -> Cell:
    """A node inside another one as a cell: of columns, where its expressions have grown large.

    So neither the work of building the tree nor its depth grows with the depth of an author's nesting.
    """
    result = compile_cell(node, scope)
    large = any(sum(1 for _ in islice(value.walk(), NODES_MAX)) == NODES_MAX for value in result.kinds.values())
    return scope.steps.let_cell(result) if large else result


# ── nodes, in the order of ops.py ────────────────────────────────────────────────────────────────────────────────


def compile_cell(node: Expr, scope: Scope) -> Cell:
    """An expression as a cell, compiled once for each scope. A part that is used more than once becomes columns.

    Raises TypeError for a node that SQL does not know.
    """
    cell = scope.cells.get(node)
    if cell is None:
        cell = node_cell(node, scope)
        if node in scope.query.shared:
            cell = scope.steps.let_cell(cell)
        scope.cells[node] = cell
    return cell


@singledispatch
def node_cell(node: Expr, scope: Scope) -> Cell:
    """A node as a cell, of the cells of what is inside it."""
    raise TypeError(f"no SQL for the node {type(node).__name__}")


@node_cell.register
def _(node: Constant, scope: Scope) -> Cell:
    match node.value:
        case None:
            return NULL
        case bool():
            return boolean_cell(TRUE if node.value else FALSE)
        case str():
            return Cell({"string": text(node.value)}, always=True)
        case number:
            return number_cell(double(number), always=True, most=abs(number), whole=float(number).is_integer())


@node_cell.register
def _(node: ListOf, scope: Scope) -> Cell:
    size = double(len(node.items))
    if all(isinstance(item, Constant) for item in node.items):
        constants = tuple(item.value for item in node.items if isinstance(item, Constant))
        return Cell({"list": text(canonical_json(to_json(constants)))}, always=True, size=size)
    parts: list[Sql] = [text("[")]
    for item in node.items:
        value = scope.steps.let_cell(operand(item, scope))
        parts += [*([text(",")] if len(parts) > 1 else []), scope.engine.json_item(value)]
    written: Sql = parts[0]
    for part in (*parts[1:], text("]")):
        written = exp.DPipe(this=written, expression=part)
    return Cell({"list": written}, always=True, size=size)


@node_cell.register
def _(node: Attribute, scope: Scope) -> Cell:
    return scope.query.profile.cell(node.key, node.path)


@node_cell.register
def _(node: Property, scope: Scope) -> Cell:
    return scope.query.property(node.name)


@node_cell.register(TraitRef)
@node_cell.register(SegmentRef)
def _(node: TraitRef | SegmentRef, scope: Scope) -> Cell:
    raise TypeError(f"{type(node).__name__} {node.key!r} is replaced by its own expression before SQL is made")


@node_cell.register
def _(node: Aggregation, scope: Scope) -> Cell:
    slots = {name: reading(need, scope.query) for name, need in needs_of(node).items()}
    return compile_cell(AGGREGATES[node.aggregate].present, Scope(scope.query, scope.steps, slots=slots))


@node_cell.register
def _(node: Not, scope: Scope) -> Cell:
    return boolean_cell(negated(holds(operand(node.operand, scope))))


@node_cell.register
def _(node: And, scope: Scope) -> Cell:
    return boolean_cell(all_of([holds(operand(node.left, scope)), holds(operand(node.right, scope))]))


@node_cell.register
def _(node: Or, scope: Scope) -> Cell:
    return boolean_cell(any_of([holds(operand(node.left, scope)), holds(operand(node.right, scope))]))


@node_cell.register
def _(node: Compare, scope: Scope) -> Cell:
    left, right = operand(node.left, scope), operand(node.right, scope)
    if node.op not in ("==", "!="):
        return boolean_cell(ordered(node.op, left, right))
    is_same = _same(left, right, scope)
    return boolean_cell(is_same if node.op == "==" else negated(is_same))


def _same(left: Cell, right: Cell, scope: Scope) -> Sql:
    """S1, S3: equal in type and value, lists too."""
    if "list" in left.kinds and "list" in right.kinds:
        left, right = _keyed(left, scope), _keyed(right, scope)
    return same(left, right)


def _keyed(value: Cell, scope: Scope) -> Cell:
    """The cell with its list as text that is equal for equal lists."""
    return Cell({**value.kinds, "list": scope.engine.list_key(value.kinds["list"])}, value.always)


@node_cell.register
def _(node: In, scope: Scope) -> Cell:
    item = operand(node.item, scope)
    if not isinstance(node.collection, ListOf):
        return boolean_cell(coalesced([holds_item(scope, operand(node.collection, scope), item), FALSE]))
    constants = [element.value for element in node.collection.items if isinstance(element, Constant)]
    others = [element for element in node.collection.items if not isinstance(element, Constant)]
    if others or None in constants:
        item = scope.steps.let_cell(item)
    tests = [_is_any(item, [value for value in constants if value is not None])]
    if None in constants:
        tests.append(is_null(item))
    return boolean_cell(any_of([*tests, *(_same(item, operand(other, scope), scope) for other in others)]))


def _is_any(item: Cell, constants: list[bool | float | str]) -> Sql:
    """Whether the item is one of the constants, kind by kind."""
    literals: dict[Kind, list[Sql]] = {"boolean": [], "number": [], "string": []}
    for value in constants:
        match value:
            case bool():
                literals["boolean"].append(TRUE if value else FALSE)
            case str():
                literals["string"].append(text(value))
            case _:
                literals["number"].append(double(value))
    tests: list[Sql] = [
        item.kinds[kind].isin(*values) for kind, values in literals.items() if values and kind in item.kinds
    ]
    return coalesced([*tests, FALSE]) if tests else FALSE


@node_cell.register
def _(node: Negate, scope: Scope) -> Cell:
    number = operand(node.operand, scope).only("number")
    value = number.get("number")
    # From zero, which gives no -0.0.
    return NULL if value is None else number_cell(double(0.0) - value, number.always, number.most, number.whole)


@node_cell.register
def _(node: Arithmetic, scope: Scope) -> Cell:
    left, right = operand(node.left, scope).only("number"), operand(node.right, scope).only("number")
    x, y = left.get("number"), right.get("number")
    if x is None or y is None:
        return NULL
    always = left.always and right.always
    match node.op:
        case "+" | "-":
            return _bounded(x + y if node.op == "+" else x - y, always, left, right, left.most + right.most)
        case "*":
            return _bounded(one_zero(x * y), always, left, right, left.most * right.most)
        case "/":
            never_zero = isinstance(y, exp.Literal) and float(y.name) != 0.0
            quotient = x / (y if never_zero else _null_if_zero(y))
            # A whole divisor is null or at least 1, so the quotient is not greater than the dividend.
            most = left.most if right.whole else float("inf")
            return _bounded(one_zero(quotient), always and never_zero, left, right, most, fraction=True)
        case "%":
            y = scope.let(y)
            left_over = scope.let(scope.engine.remainder(scope.let(x), _null_if_zero(y)))
            zero = double(0.0)
            differs = exp.NEQ(this=exp.paren(left_over < zero), expression=exp.paren(y < zero))
            return number_cell(finite(case((left_over.eq(zero), zero), (differs, left_over + y), otherwise=left_over)))


def _bounded(value: Sql, always: bool, left: Cell, right: Cell, most: float, fraction: bool = False) -> Cell:
    """The result of a calculation, tested for overflow (S5) unless the bounds of both sides rule it out.

    `most` is the bound of its size, `fraction` whether it may have one though both sides are whole.
    """
    if most < 1e300:
        return number_cell(value, always, most, whole=left.whole and right.whole and not fraction)
    return number_cell(finite(value))


def _null_if_zero(value: Sql) -> Sql:
    return exp.Nullif(this=value.copy(), expression=double(0.0))


@node_cell.register
def _(node: Call, scope: Scope) -> Cell:
    return called(node.function, scope, [_argument(argument, scope) for argument in node.args])


def _argument(node: Expr, scope: Scope) -> Reading:
    """An argument of a function: a cell, or the tally that a slot reads as."""
    return scope.slots[node.name] if isinstance(node, SlotValue) else operand(node, scope)


@node_cell.register
def _(node: Argument, scope: Scope) -> Cell:
    assert scope.argument is not None, "an argument stands only in a lift"
    return scope.argument


@node_cell.register
def _(node: EventTime, scope: Scope) -> Cell:
    return scope.query.time()


@node_cell.register
def _(node: EventDay, scope: Scope) -> Cell:
    return scope.query.day()


@node_cell.register
def _(node: SlotValue, scope: Scope) -> Cell:
    value = scope.slots[node.name]
    assert isinstance(value, Cell), "a tally is read through a function"
    return value


@node_cell.register
def _(node: Now, scope: Scope) -> Cell:
    return scope.query.now()


# ── slots: which events, what each contributes, and how that combines ────────────────────────────────────────────


def reading(need: Need, query: Query) -> Reading:
    """What the slot of a need reads as for the id at hand. A need that is read twice is computed once."""
    if need not in query.readings:
        source, slot = need.source, need.slot
        argument = boolean_cell(TRUE) if source.property is None else query.property(source.property)
        scope = Scope(query, query.events.steps, argument=argument)
        wish = "_".join(part for part in (source.event or "any", source.property, slot.name) if part)
        lifted = scope.steps.let_cell(compile_cell(slot.lift, scope), wish)
        when = all_of([_is_of(source, query), query.within(need.window)])
        query.readings[need] = fold(slot.monoid, query, lifted, when, f"{wish}_{need.window}" if need.window else wish)
    return query.readings[need]


def _is_of(source: Source, query: Query) -> Sql:
    """Whether the event at hand is one of the source's."""
    named = query.named(source.event)
    if source.where is None:
        return named
    return query.events.let(
        all_of([named, holds(compile_cell(source.where, query.events))]), f"is_{source.event or 'any'}"
    )
