"""Comparisons with a number that a float does not hold: refused when a definition is saved.

From 2^53 on numbers have gaps: 9007199254740993 is 9007199254740992 to every execution, and a comparison would hold
for a neighbour too. What has so many digits is an id, and belongs in a text.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import TypeRefused
from ..ops import Aggregation, Attribute, Compare, Constant, Expr, In, ListOf, Property, TraitRef, walk
from ..rules.values import GAPS_FROM

#: The parts that read what somebody sent.
_READS = (Property, Attribute, TraitRef, Aggregation)


def require_exact(written: Expr) -> None:
    """Raises `TypeRefused` at a number from 2^53 on that a property, an attribute or a trait is compared with."""
    for node in walk(written):
        for value, literal in _sides(node):
            number = literal.value if isinstance(literal, Constant) else None
            has_gaps = isinstance(number, float) and abs(number) >= GAPS_FROM
            if has_gaps and any(isinstance(part, _READS) for part in walk(value)):
                raise TypeRefused(
                    "a comparison with a number from 2^53 on, where numbers have gaps: others are equal to it",
                    at=literal.at,
                    expected="a text in quotes, and the value sent as text",
                )


def _sides(node: Expr) -> Iterator[tuple[Expr, Expr]]:
    """What is compared, each with what may be the literal."""
    match node:
        case Compare(_, left, right):
            yield left, right
            yield right, left
        case In(item, ListOf(items)):
            yield from ((item, literal) for literal in items)
        case In(Constant() as item, collection):
            yield collection, item
