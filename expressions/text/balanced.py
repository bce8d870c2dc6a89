"""Runs of `&&` and of `||`: a list of conditions is not a deep tree.

Both are associative, so a run of any length is kept as a balanced tree: a thousand conditions are ten levels, and the
bound on depth is left for what is really nested. Order stays, so short-circuiting does too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ops import And, Expr, Or, Span


def balanced(node: type[And] | type[Or], operands: Sequence[Expr]) -> Expr:
    """The operands, in order, under one kind of node."""
    if len(operands) == 1:
        return operands[0]
    half = len(operands) // 2
    left, right = balanced(node, operands[:half]), balanced(node, operands[half:])
    at = Span(left.at.start, right.at.end) if left.at and right.at else None
    return node(left, right, at=at)


def run(node: And | Or) -> list[Expr] | None:
    """The operands that `balanced` makes this very tree of; None where it has another shape."""
    operands = _operands(node, type(node))
    return operands if balanced(type(node), operands) == node else None


def _operands(node: Expr, kind: type[And] | type[Or]) -> list[Expr]:
    if isinstance(node, kind):
        return [*_operands(node.left, kind), *_operands(node.right, kind)]
    return [node]
