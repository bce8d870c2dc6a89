"""Binds definitions: parses them, resolves the names of other definitions, and checks types, bounds and cycles.

Every definition passes here before it is saved. `bind` takes all definitions at once, and gives them in an order in
which each comes after those it uses. `bind_changed` gives the same, with the work of those that changed alone.
`bind_one` takes one more, against those that are bound. A bound tree has its references replaced, so no execution ever
resolves a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from ..definitions import Bound, Definition, Key, inlined, named_by, references
from ..errors import CycleRefused, ExpressionError, KeyRefused, TooLarge, UnknownName, nearest_names
from ..ops import Aggregation, Attribute, Expr, Not, Span, distinct_parts, walk
from ..rules.dtypes import BOOLEAN
from .names import RESERVED, aggregate_named, root_aggregate_named
from .parse import parse
from .typecheck import dtype_of, require_boolean

#: The most distinct parts of a definition with all that it refers to: executions compute each of them once, however
#: often it is used.
INLINED_PARTS_MAX = 20_000
INLINED_DEPTH_MAX = 128
#: The most distinct events, properties and attributes that one definition reads, with all that it refers to. Each is a
#: column of its own, made from every row, in the batch and in SQL: it costs some 7 ms of planning, whatever the rows.
NAMES_READ_MAX = 250


@dataclass(frozen=True)
class Known:
    """The names that were seen so far: event name -> its properties (dotted), and the keys of profile attributes."""

    events: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()


def bind(definitions: Iterable[Definition], known: Known | None = None) -> dict[Key, Bound]:
    """All definitions, bound, each after those it uses. Raises `ExpressionError`, which names its definition."""
    return _bind(definitions, {}, known)


def bind_changed(definitions: Iterable[Definition], before: Mapping[Key, Bound]) -> dict[Key, Bound]:
    """What `bind` gives of all definitions, in the same order, or the error that it raises.

    Those of `before` are taken as they are where a definition is the same, and so is all that it refers to, also by
    others. They must come of `bind` without known names: with these a bound has warnings, which other names change.
    """
    return _bind(definitions, before, None)


def _bind(definitions: Iterable[Definition], before: Mapping[Key, Bound], known: Known | None) -> dict[Key, Bound]:
    by_key: dict[Key, Definition] = {(definition.kind, definition.key): definition for definition in definitions}
    same = {key: bound for key, bound in before.items() if by_key.get(key) == bound.definition}
    written = {key: same[key].written if key in same else _written(definition) for key, definition in by_key.items()}
    bounds: dict[Key, Bound] = {}

    def named(key: Key) -> Iterable[Key]:
        return same[key].used if key in same else (name for name, _ in references(written[key]))

    for start in by_key:
        for key in _order(start, named, written, bounds, by_key.__getitem__):
            bound = same.get(key)
            # A bound holds those that it uses, and these hold theirs: the very same ones are the same all the way.
            if bound is None or any(bounds.get(used) is not other for used, other in bound.used.items()):
                bound = _bound(by_key[key], written[key], bounds, known)
            bounds[key] = bound
    return bounds


def bind_one(definition: Definition, others: Mapping[Key, Bound], known: Known | None = None) -> Bound:
    """One definition, bound against others that are; one of the same key among them is left out.

    The definitions that refer to it are not checked again. Its type may have changed, so bind its `dependents` after
    it, or all. Raises `ExpressionError`.
    """
    own: Key = (definition.kind, definition.key)
    written = {key: bound.written for key, bound in others.items()} | {own: _written(definition)}

    def named(key: Key) -> Iterable[Key]:
        return others[key].used if key != own else (name for name, _ in references(written[own]))

    _order(own, named, written, {}, lambda key: definition if key == own else others[key].definition)
    return _bound(definition, written[own], {key: bound for key, bound in others.items() if key != own}, known)


def bind_possible(definitions: Mapping[Key, Definition]) -> dict[Key, Bound]:
    """Those of some definitions that bind, alone and with each other: without one that does not, and its dependents."""
    bounds: dict[Key, Bound] = {}
    while True:
        count = len(bounds)
        for key, definition in definitions.items():
            if key not in bounds:
                with suppress(ExpressionError):
                    bounds[key] = bind_one(definition, bounds)
        if len(bounds) == count:
            return bounds


def dependents(key: Key, bounds: Mapping[Key, Bound]) -> list[Key]:
    """The definitions that refer to this one directly, sorted."""
    return sorted(dependent for dependent, bound in bounds.items() if key in bound.uses)


def _written(definition: Definition) -> Expr:
    """The tree of a definition as its author wrote it. Raises `KeyRefused` and what `parse` raises."""
    try:
        if definition.kind == "trait":
            _check_key(definition.key)
        return parse(definition.expression)
    except ExpressionError as error:
        raise error.of(definition.kind, definition.key).with_text(definition.expression) from None


def _check_key(key: str) -> None:
    """Raises `KeyRefused` for a key that means something else: a bare name is a trait only if it is nothing else."""
    remedy = "another key"
    if key in RESERVED:
        raise KeyRefused(f"{key} is a word of the language, so a trait cannot have it", expected=remedy)
    try:
        is_taken = root_aggregate_named(key) is not None
    except ExpressionError:
        is_taken = True  # such as count_0d: reads as an aggregate, only a wrong one
    if is_taken:
        raise KeyRefused(f"{key} is an aggregate over all events, so a trait cannot have it", expected=remedy)


# ── order and cycles ─────────────────────────────────────────────────────────────────────────────────────────────


def _order(
    start: Key,
    named: Callable[[Key], Iterable[Key]],
    written: Mapping[Key, Expr],
    done: Mapping[Key, Bound],
    definition: Callable[[Key], Definition],
) -> list[Key]:
    """The definitions to bind for `start`, with itself last and without those of `done`. Raises `CycleRefused`.

    `named` gives what a definition refers to, in the order in which it is written first.
    """
    order: list[Key] = []
    seen: set[Key] = set()
    path: dict[Key, Iterator[Key]] = {}

    def enter(key: Key) -> None:
        path[key] = iter([name for name in named(key) if name in written])

    if start not in done:
        enter(start)
    while path:
        key, waiting = next(reversed(path.items()))
        following = next((name for name in waiting if name not in seen and name not in done), None)
        if following is None:
            del path[key]
            seen.add(key)
            order.append(key)
        elif following in path:
            keys = list(path)
            raise _cycle([*keys[keys.index(following) :], following], written, definition)
        else:
            enter(following)
    return order


def _cycle(keys: list[Key], written: Mapping[Key, Expr], definition: Callable[[Key], Definition]) -> ExpressionError:
    """The error of a cycle. Its place is the first step of the cycle, in the text of the first definition."""
    first, second = keys[:2]
    error = CycleRefused(
        " needs ".join(f"{kind} {name}" for kind, name in keys),
        at=next(at for named, at in references(written[first]) if named == second),
        expected="definitions that do not need each other",
    )
    return error.of(*first).with_text(definition(first).expression)


# ── one definition ───────────────────────────────────────────────────────────────────────────────────────────────


def _bound(definition: Definition, written: Expr, others: Mapping[Key, Bound], known: Known | None) -> Bound:
    try:
        uses = _uses(written, others)
        # The tree as written, so that an error stands where its author put it, and not inside another definition.
        dtype = dtype_of(written, {key: others[key].dtype for key in uses})
        expr = _inlined_within_bounds(written, others)
        if definition.kind != "trait":
            require_boolean(dtype, written.at, f"a {definition.kind}'s rule")
            if dtype != BOOLEAN:
                expr, dtype = Not(Not(expr, at=expr.at), at=expr.at), BOOLEAN  # its truth by S4
        warnings = dict.fromkeys(warnings_of(written, known)) if known is not None else ()
        return Bound(definition, written, expr, dtype, {key: others[key] for key in uses}, tuple(warnings))
    except ExpressionError as error:
        raise error.of(definition.kind, definition.key).with_text(definition.expression) from None


def _uses(written: Expr, others: Mapping[Key, Bound]) -> list[Key]:
    """The definitions that are referred to, as they come in the text. Raises `UnknownName` for one that is away."""
    uses: dict[Key, None] = {}
    for key, at in references(written):
        if key not in others:
            raise unknown_reference(key, at, others)
        uses[key] = None
    return list(uses)


def unknown_reference(key: Key, at: Span | None, others: Iterable[Key]) -> UnknownName:
    """The error of a reference to a definition that is not there."""
    kind, name = key
    names = [other for other_kind, other in others if other_kind == kind]
    return UnknownName(f"no {kind} {name}", at=at, expected=_remedy(kind, name), nearest=nearest_names(name, names))


def _remedy(kind: str, name: str) -> str:
    if kind == "segment":
        return "the key of a segment"
    try:
        is_aggregate = aggregate_named(name) is not None
    except ExpressionError:
        is_aggregate = False
    if is_aggregate:
        return f"events and a property before an aggregate, as in events.EVENT.PROPERTY.{name}"
    return f"the key of a trait, an aggregate over all events, events.… or profile.{name}"


def _inlined_within_bounds(written: Expr, others: Mapping[Key, Bound]) -> Expr:
    """The tree with every reference replaced. Raises `TooLarge` at the part that is too much."""
    tree = inlined(written, others)
    parts = distinct_parts(tree)
    if len(parts) > INLINED_PARTS_MAX or tree.levels > INLINED_DEPTH_MAX:
        raise _too_large(_first_beyond(written, others))
    if len(_names_read(parts)) > NAMES_READ_MAX:
        raise TooLarge(
            f"with all that it refers to, more than {NAMES_READ_MAX} events, properties and attributes",
            at=_name_beyond(written, others),
            expected="fewer of them",
        )
    return tree


def _first_beyond(written: Expr, others: Mapping[Key, Bound]) -> Span | None:
    """The place of the reference whose parts are too many, with those before it, or too deep; else of the whole."""
    parts: set[Expr] = set()
    for key, at in references(written):
        expr = others[key].expr
        parts.update(distinct_parts(expr))
        if len(parts) > INLINED_PARTS_MAX or expr.levels > INLINED_DEPTH_MAX:
            return at
    return written.at


def _names_read(parts: Iterable[Expr]) -> set[tuple[str | None, ...]]:
    """The distinct events, properties and attributes that some parts read."""
    names: set[tuple[str | None, ...]] = set()
    for part in parts:
        if isinstance(part, Attribute):
            names.add((part.key,))
        elif isinstance(part, Aggregation):
            names.update((part.source.event, name) for name in (None, *part.source.properties))
    return names


def _name_beyond(written: Expr, others: Mapping[Key, Bound]) -> Span | None:
    """The place of the part that reads one name too many."""
    names: set[tuple[str | None, ...]] = set()
    for node in walk(written):
        key = named_by(node)
        names |= _names_read([node] if key is None else distinct_parts(others[key].expr))
        if len(names) > NAMES_READ_MAX:
            return node.at
    return written.at


def _too_large(at: Span | None) -> TooLarge:
    return TooLarge(
        f"with all that it refers to, more than {INLINED_PARTS_MAX} parts or {INLINED_DEPTH_MAX} levels",
        at=at,
        expected="fewer references",
    )


def warnings_of(written: Expr, known: Known) -> Iterator[str]:
    """S9: a warning for each name that was never seen, from left to right."""
    for node in walk(written):
        if isinstance(node, Attribute) and node.key not in known.attributes:
            yield _unseen("profile attribute", node.key, known.attributes)
        elif isinstance(node, Aggregation) and node.source.event is not None:
            event = node.source.event
            if event not in known.events:
                yield _unseen("event", event, known.events)
                continue
            for name in node.source.properties:
                if name not in known.events[event]:
                    yield _unseen(f"property of {event}", name, known.events[event])


def _unseen(what: str, name: str, names: Iterable[str]) -> str:
    nearest = nearest_names(name, names)
    return f"{what} {name} was never seen" + (f"; did you mean {' or '.join(nearest)}?" if nearest else "")
