"""All mistakes of a text that can be told at once, for an editor; whoever saves is told of the first alone.

After a part that cannot be read, reading goes on behind it: at the next operator, comma or bracket that is not inside
it. The part is a hole, which may be any value. So one mistake hides no other, and makes none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any

from sqlglot.tokens import TokenType

from ..definitions import Bound, DefinitionKind, Key, named_by, references
from ..errors import ExpressionError, TooLarge
from ..ops import And, Constant, Expr, ListOf, Property, Source, TraitRef, transform
from ..rules.dtypes import Dtype
from .bind import unknown_reference
from .parse import CHARACTERS_MAX, Grammar, parse
from .typecheck import Names, dtype_of, require_boolean

#: A part that could not be read, or is wrong: no author writes an empty name, and a property may be any value.
HOLE = Property("")
#: The most mistakes that are told at once.
MISTAKES_MAX = 20
#: Of so many unknown definitions the nearest names are told: among a thousand a look takes a millisecond.
NEAREST_MAX = 5

_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET)


def mistakes(text: str, kind: DefinitionKind, bounds: Mapping[Key, Bound]) -> list[ExpressionError]:
    """The mistakes of a definition's text, `MISTAKES_MAX` at most, by place; empty where there is none that is told.

    `bounds` are the definitions that it may refer to. Cycles, and bounds on what it reads with all that it refers to,
    are not looked for: `bind_one` does so, for a text without other mistakes.
    """
    unread: list[ExpressionError] = []
    try:
        tree = parse(text)
    except ExpressionError as error:
        tree, unread = read_on(text)
        if not unread:  # too large as a whole
            return [error.with_text(text)]
    names: Names = {key: bound.dtype for key, bound in bounds.items()}
    known = transform(tree, lambda node: HOLE if _is_unknown(node, bounds) else node)
    # A part around what could not be read may be meant otherwise, so its kinds are not judged.
    mistyped = [
        error
        for error in _mistyped(known, kind, names)
        if not any(error.at.start <= other.at.start < error.at.end for other in unread)
    ]
    found = {error.at.start: error for error in reversed([*unread, *_unknown(tree, bounds), *mistyped])}
    return [found[start].with_text(text) for start in sorted(found)[:MISTAKES_MAX]]


def read_on(text: str) -> tuple[Expr, list[ExpressionError]]:
    """The tree of a text, with holes, and what could not be read. A text that is too long is one mistake."""
    if len(text) > CHARACTERS_MAX:
        return HOLE, []
    try:
        grammar = Tolerant(text)
        return grammar.whole(), grammar.found
    except ExpressionError as error:  # a quote that is not closed, or too large
        return HOLE, [error]


class Tolerant(Grammar):
    """Reads on behind parts that it cannot read, and keeps why in `found`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.found: list[ExpressionError] = []

    def whole(self) -> Expr:
        """The tree of all that can be read."""
        tree = self.expression()
        while self.token is not None:
            self.note(self.no_operator())
            self.skip(self.at, self.at + 1)
            while self.token is not None and self.token.token_type in (*_CLOSING, TokenType.COMMA):
                self.at += 1
            if self.operator() is not None:
                self.at += 2 if self.operator() == "not in" else 1
            if self.token is not None:
                tree = And(tree, self.expression())
        return tree

    def unary(self) -> Expr:
        """A part, or a hole in its place."""
        start, before = self.at, (self.levels, self.parentheses, self.is_in_where)
        try:
            return super().unary()
        except TooLarge:
            raise
        except ExpressionError as error:
            self.note(error)
            self.levels, self.parentheses, self.is_in_where = before
            self.skip(start, self.at)
            return replace(HOLE, at=error.at)

    def note(self, error: ExpressionError) -> None:
        """Keeps a mistake."""
        if len(self.found) < MISTAKES_MAX:
            self.found.append(error)

    def skip(self, start: int, least: int) -> None:
        """Passes the rest of what begins at `start`, from `least` on, up to where something else can begin."""
        depth = 0
        for at in range(start, len(self.tokens)):
            kind = self.tokens[at].token_type
            is_closing = kind in _CLOSING
            if at >= least and depth == 0:
                self.at = at
                if is_closing or kind == TokenType.COMMA or self.operator() is not None:
                    return
            depth += (kind in _OPENING) - (is_closing and depth > 0)
        self.at = len(self.tokens)


def _is_unknown(node: Expr, bounds: Mapping[Key, Bound]) -> bool:
    key = named_by(node)
    return key is not None and key not in bounds


def _unknown(tree: Expr, bounds: Mapping[Key, Bound]) -> list[ExpressionError]:
    missing = [(key, at) for key, at in references(tree) if key not in bounds]
    return [
        unknown_reference(key, at, bounds if index < NEAREST_MAX else ())
        for index, (key, at) in enumerate(missing[:MISTAKES_MAX])
    ]


def _mistyped(tree: Expr, kind: DefinitionKind, names: Names) -> list[ExpressionError]:
    found: list[ExpressionError] = []
    try:
        dtype = dtype_of(tree, names)
    except ExpressionError:
        _check(tree, dict(names), found)
        return found
    if kind != "trait":
        try:
            require_boolean(dtype, tree.at, f"a {kind}'s rule")
        except ExpressionError as error:
            found.append(error)
    return found


def _check(node: Expr, names: dict[tuple[str, str], Dtype], found: list[ExpressionError]) -> Expr:
    """A part that has the type of the node, or a hole where its kinds do not fit; these are added to `found`.

    Each node is judged by stand-ins for what is inside it, so that it takes one step for each.
    """
    if isinstance(node, Constant | ListOf):
        return node  # functions look at them
    judged = _with_children(node, lambda child: _check(child, names, found))
    try:
        dtype = dtype_of(judged, names)
    except ExpressionError as error:
        found.append(error)
        return replace(HOLE, at=node.at)
    key = f"of {sorted(dtype)}"
    names["trait", key] = dtype
    return TraitRef(key, at=node.at)


def _with_children(node: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The node with every node that is directly inside it changed."""
    changed: dict[str, Any] = {}
    for member in fields(node):
        value = getattr(node, member.name)
        if isinstance(value, Expr):
            changed[member.name] = change(value)
        elif isinstance(value, tuple) and any(isinstance(item, Expr) for item in value):
            changed[member.name] = tuple(change(item) for item in value)
        elif isinstance(value, Source) and value.where is not None:
            changed[member.name] = replace(value, where=change(value.where))
    return replace(node, **changed) if changed else node
