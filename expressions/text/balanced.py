"""Balanced trees of `&&` and of `||`: a list of conditions is not a deep tree.

Both operators are associative, so any number of operands is kept as a balanced tree. A thousand conditions are ten
levels, and the bound on depth is left for what is really nested. The order stays, and so does short-circuiting.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ops import And, Expr, Or, Span


def balanced(node: type[And] | type[Or], operands: Sequence[Expr]) -> Expr:
    """The balanced tree of operands, in order, under one kind of node."""
    if len(operands) == 1:
        return operands[0]
    half = len(operands) // 2
    left, right = balanced(node, operands[:half]), balanced(node, operands[half:])
    at = Span(left.at.start, right.at.end) if left.at and right.at else None
    return node(left, right, at=at)


def operands_of(node: And | Or) -> list[Expr] | None:
    """The operands of which `balanced` makes this very tree; None where the tree has another shape."""
    return _leaves(node, type(node)) if _balanced_size(node, type(node)) is not None else None


def _balanced_size(node: Expr, kind: type[Expr]) -> int | None:
    """How many operands stand under the nodes of a kind; None where `balanced` would make another tree of them."""
    if not isinstance(node, kind):
        return 1
    left, right = _balanced_size(node.left, kind), _balanced_size(node.right, kind)  # type: ignore[attr-defined]
    if left is None or right is None or left not in (right, right - 1):
        return None
    return left + right


def _leaves(node: Expr, kind: type[And] | type[Or]) -> list[Expr]:
    """What stands under the nodes of a kind, from left to right."""
    if isinstance(node, kind):
        return [*_leaves(node.left, kind), *_leaves(node.right, kind)]
    return [node]
