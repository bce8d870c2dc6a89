"""What can be said: every node of the language, as frozen records.

An expression is a small tree of these nodes, whatever text it came from. The executions (`to_polars`, `to_state`,
`to_sql`) dispatch on the node's type. They list the nodes in the order of this file, so that they can be read side by
side. A node carries its place in the text (`at`), which takes no part in comparison.

Authors can write all nodes but those of the last group, which stand only inside the table of aggregates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import blake2b
from operator import is_
from typing import Any, Literal, TypeAlias

from .rules.windows import Window

Scalar: TypeAlias = None | bool | float | str
Comparison: TypeAlias = Literal["==", "!=", "<", "<=", ">", ">="]
Operator: TypeAlias = Literal["+", "-", "*", "/", "%"]


@dataclass(frozen=True)
class Span:
    """Where a node stands in its text: characters [start, end), counted from 0."""

    start: int
    end: int


@dataclass(frozen=True, eq=False)
class Expr:
    """A node of the language.

    Nodes are equal where they say the same, wherever they stand. They are compared by digests, which each node makes
    once from those of its children: definitions that use each other share parts, and a comparison of trees would visit
    a shared part as often as it is used.
    """

    at: Span | None = field(default=None, compare=False, repr=False, kw_only=True)

    @property
    def digest(self) -> bytes:
        """16 bytes, equal for equal nodes."""
        known: bytes | None = self.__dict__.get("_digest")
        if known is None:
            known = self.__dict__["_digest"] = _digest_of(self)
        return known

    @property
    def levels(self) -> int:
        """The levels of nodes, this one included, down to the deepest leaf."""
        known: int | None = self.__dict__.get("_levels")
        if known is None:
            known = self.__dict__["_levels"] = 1 + max((child.levels for child in children(self)), default=0)
        return known

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Constant(Expr):
    """A value written in the text: null, a boolean, a number (always a float) or a string.

    Constants are equal by S3, as values are: to Python True is 1, and the need of one would answer for the other.
    """

    value: Scalar


@dataclass(frozen=True, eq=False)
class ListOf(Expr):
    """A list written in the text."""

    items: tuple[Expr, ...]


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Attribute(Expr):
    """A profile attribute, `profile.plan`. The names of `path` lead inside its value."""

    key: str
    path: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Property(Expr):
    """A property of the event at hand, with nested names dotted. It stands only inside `where(…)`."""

    name: str


@dataclass(frozen=True, eq=False)
class TraitRef(Expr):
    """Another trait's value, `trait("k")` or bare `k`."""

    key: str


@dataclass(frozen=True, eq=False)
class SegmentRef(Expr):
    """Whether the user is in a segment, `segment("k")`."""

    key: str


@dataclass(frozen=True)
class Source:
    """The events that an aggregation looks at, and the property of theirs that it takes.

    `event` None stands at the root, for every track, page and screen event. `property` is None where the event itself
    counts.
    """

    event: str | None = None
    where: Expr | None = None
    property: str | None = None

    @cached_property
    def properties(self) -> tuple[str, ...]:
        """The properties that it reads, as often as written: those of `where` from left to right, then `property`."""
        read = () if self.where is None else tuple(node.name for node in walk(self.where) if isinstance(node, Property))
        return read if self.property is None else (*read, self.property)


@dataclass(frozen=True, eq=False)
class Aggregation(Expr):
    """An aggregate over a source within a window. None as the window means lifetime."""

    aggregate: str
    source: Source
    window: Window | None = None


# ── logic, comparison, arithmetic, functions ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Not(Expr):
    """The other truth value."""

    operand: Expr


@dataclass(frozen=True, eq=False)
class And(Expr):
    """True when both sides hold (S4)."""

    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False)
class Or(Expr):
    """True when either side holds (S4)."""

    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False)
class Compare(Expr):
    """One of the six comparisons: true or false, never unknown (S1, S3)."""

    op: Comparison
    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False)
class In(Expr):
    """Whether a list holds an item equal to the left side."""

    item: Expr
    collection: Expr


@dataclass(frozen=True, eq=False)
class Negate(Expr):
    """The number with the other sign."""

    operand: Expr


@dataclass(frozen=True, eq=False)
class Arithmetic(Expr):
    """One of the five operations on numbers; null when a side is no number or the result is not finite (S5)."""

    op: Operator
    left: Expr
    right: Expr


@dataclass(frozen=True, eq=False)
class Call(Expr):
    """One of the closed list of functions (`functions.py`)."""

    function: str
    args: tuple[Expr, ...]


# ── inside the table of aggregates ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Argument(Expr):
    """In a lift: the property the aggregate takes, or true where the event itself counts."""


@dataclass(frozen=True, eq=False)
class EventTime(Expr):
    """In a lift: when the event happened, UTC milliseconds."""


@dataclass(frozen=True, eq=False)
class EventDay(Expr):
    """In a lift: the calendar date of the event in the workspace's time zone, as days since 1970-01-01."""


@dataclass(frozen=True, eq=False)
class SlotValue(Expr):
    """In a present: what a slot of this aggregate reads as."""

    name: str


@dataclass(frozen=True, eq=False)
class Now(Expr):
    """In a present: the instant of the answer, UTC milliseconds."""


#: The fields of each kind of node that was met, but for its place.
_MEMBERS: dict[type[Expr], tuple[str, ...]] = {}


def _members(kind: type[Expr]) -> tuple[str, ...]:
    members = _MEMBERS.get(kind)
    if members is None:
        members = _MEMBERS[kind] = tuple(member.name for member in fields(kind) if member.compare)
    return members


def children(node: Expr) -> Iterator[Expr]:
    """The nodes directly inside, from left to right; of an aggregation its `where`."""
    for name in _members(type(node)):
        value = getattr(node, name)
        if isinstance(value, Expr):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Expr))
        elif isinstance(value, Source) and value.where is not None:
            yield value.where


def walk(node: Expr) -> Iterator[Expr]:
    """The node and everything inside it as often as it is used, outermost first: for a tree as its author wrote it."""
    yield node
    for child in children(node):
        yield from walk(child)


def distinct_parts(*roots: Expr) -> dict[Expr, int]:
    """The nodes and everything inside them, each once, outermost first; and how often each is used.

    A part is used by each distinct part that holds it, as often as it does, and by each root that it is. It does not
    recurse, and takes as many steps as there are distinct parts, however often they are used.
    """
    uses: dict[Expr, int] = {}
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        uses[node] = uses.get(node, 0) + 1
        if uses[node] == 1:
            waiting += reversed(list(children(node)))
    return uses


def shared_parts(*roots: Expr) -> frozenset[Expr]:
    """The parts that are used more than once and compute something: executions keep what these give."""
    return frozenset(
        node for node, count in distinct_parts(*roots).items() if count > 1 and not isinstance(node, Constant | ListOf)
    )


def extent(root: Expr) -> tuple[int, int, Expr]:
    """The number of nodes as often as they are used, the number of levels, and a node of the deepest level.

    It does not recurse, and is for a tree as its author wrote it.
    """
    count, depth, level = 0, 0, [root]
    while level:
        count, depth, deepest = count + len(level), depth + 1, level[0]
        level = [child for node in level for child in children(node)]
    return count, depth, deepest


def transform(node: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The same tree with `change` applied to every node, innermost first; for a tree as its author wrote it.

    A node stays the very node where nothing inside it changed.
    """
    changed: dict[str, Any] = {}
    for name in _members(type(node)):
        value = getattr(node, name)
        after = value
        if isinstance(value, Expr):
            after = transform(value, change)
        elif isinstance(value, tuple) and any(isinstance(item, Expr) for item in value):
            items = tuple(transform(item, change) for item in value)
            after = value if all(map(is_, items, value)) else items
        elif isinstance(value, Source) and value.where is not None:
            where = transform(value.where, change)
            after = value if where is value.where else replace(value, where=where)
        if after is not value:
            changed[name] = after
    return change(replace(node, **changed) if changed else node)


def _digest_of(node: Expr) -> bytes:
    """The digest of what a node says: its type, and each of its fields but its place."""
    said = [_said(getattr(node, member.name)) for member in fields(node) if member.compare]
    return blake2b(repr((type(node).__name__, said)).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _said(value: Any) -> Any:
    """What a field says, as something whose `repr` is equal for equal fields."""
    match value:
        case Expr():
            return value.digest
        case tuple():
            return [_said(item) for item in value]
        case Source():
            return (value.event, _said(value.where), value.property)
        case float():
            return value + 0.0  # one zero
        case _:
            return value
