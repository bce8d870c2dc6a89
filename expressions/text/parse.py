"""Parses an expression: the whole grammar, a closed list of nodes.

Every refusal has its place, what was expected there, and the nearest names.

    expression := expression OPERATOR expression | not expression | ! expression | - expression | primary
    primary    := NUMBER | STRING | true | false | null | ( expression ) | [ constant, … ]
                | events NAME [.where( condition )]… [NAME]… .AGGREGATE[_WINDOW]
                | profile NAME [NAME]…  |  trait("k")  |  segment("k")  |  FUNCTION( expression, … )
                | ROOT_AGGREGATE[_WINDOW]  |  TRAIT
    NAME       := .word | ["any text"] | .`any text`

Operators bind, from loose to tight: `||` or · `&&` and · not · `== !=` · `< <= > >=` · in, not in · `+ -` · `* / %` ·
`! -`. Operators that bind equally bind to the left. Inside `where` a name is a property of the event.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from sqlglot.tokens import TokenType

from ..aggregates import AGGREGATES
from ..errors import ExpressionError, SyntaxRefused, TooLarge, UnknownName, nearest_names
from ..functions import FUNCTIONS
from ..ops import (
    Aggregation,
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Constant,
    Expr,
    In,
    ListOf,
    Negate,
    Not,
    Or,
    Property,
    SegmentRef,
    Source,
    Span,
    TraitRef,
    extent,
)
from ..rules.windows import Window
from .balanced import balanced
from .cursor import Cursor
from .dialect import name_value, string_value, unknown_escape
from .names import RESERVED, aggregate_named, is_plain, path, root_aggregate_named, stem

CHARACTERS_MAX = 10_000
DEPTH_MAX = 64
NODES_MAX = 2_000
ITEMS_MAX = 1_000
NAMES_MAX = 32
#: The most characters of a short text. More trees of short texts are kept.
SHORT_CHARACTERS = 1_000

_MARKS: dict[TokenType, str] = {
    TokenType.OR: "or",
    TokenType.AND: "and",
    TokenType.EQ: "==",
    TokenType.NEQ: "!=",
    TokenType.LT: "<",
    TokenType.LTE: "<=",
    TokenType.GT: ">",
    TokenType.GTE: ">=",
    TokenType.PLUS: "+",
    TokenType.DASH: "-",
    TokenType.STAR: "*",
    TokenType.SLASH: "/",
    TokenType.MOD: "%",
}
#: How tightly each operator binds; `not` stands between and (2) and equality (4).
BINDS: dict[str, int] = {
    **{"or": 1, "and": 2},
    **dict.fromkeys(("==", "!="), 4),
    **dict.fromkeys(("<", "<=", ">", ">="), 5),
    **dict.fromkeys(("in", "not in"), 6),
    **dict.fromkeys(("+", "-"), 7),
    **dict.fromkeys(("*", "/", "%"), 8),
}
BINDS_NOT = 4
BINDS_UNARY = 9

_NUMBER = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
_VALUE = "a value, a name or ("
_AGGREGATE = f"one of {', '.join(AGGREGATES)}; a window behind it is written as in count_30d"
_SMALLER = "a trait of its own for a part"


def parse(text: str) -> Expr:
    """The tree of an expression. Raises `SyntaxRefused`, `TooLarge` or `UnknownName` (for functions and aggregates)."""
    return (_parsed if len(text) <= SHORT_CHARACTERS else _parsed_long)(text)


def _tree(text: str) -> Expr:
    if len(text) > CHARACTERS_MAX:
        raise TooLarge(f"an expression of {len(text)} characters", expected=f"at most {CHARACTERS_MAX}")
    try:
        return Grammar(text).whole()
    except ExpressionError as error:
        raise error.with_text(text) from None


# A catalogue is bound again for each version, and all but one of its texts are old. The tree of a long text takes half
# a megabyte, so fewer of those are kept.
_parsed = lru_cache(maxsize=2_048)(_tree)
_parsed_long = lru_cache(maxsize=64)(_tree)


class Grammar(Cursor):
    """Reads an expression. Each method reads one thing and leaves the cursor behind it.

    `names_read` are the names of the thing that is being read: `["events", "purchase", "amount"]`.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.levels = 0
        self.parentheses = 0
        self.is_in_where = False
        self.names_read: list[str] = []

    # ── operators ────────────────────────────────────────────────────────────────────────────────────────────────

    def whole(self) -> Expr:
        tree = self.expression()
        if self.token is not None:
            raise self.no_operator()
        nodes, depth, deepest = extent(tree)
        if depth > DEPTH_MAX:
            raise TooLarge(f"more than {DEPTH_MAX} levels", at=deepest.at, expected=_SMALLER)
        if nodes > NODES_MAX:
            raise TooLarge(f"more than {NODES_MAX} parts", at=tree.at, expected=_SMALLER)
        return tree

    def no_operator(self) -> SyntaxRefused:
        """The refusal of what stands where an operator or the end is expected."""
        error = self.unexpected("an operator, or the end")
        if self.token is not None and self.is_next(TokenType.VAR):
            error.nearest = nearest_names(self.token.text, ("and", "or", "in", "not in"))
        return error

    def operator(self) -> str | None:
        """The binary operator that comes next; None if another token does."""
        if self.token is None:
            return None
        if self.is_word("not") and self.is_word("in", 1):
            return "not in"
        if self.is_next(TokenType.VAR):
            return self.token.text if self.token.text in ("and", "or", "in") else None
        return _MARKS.get(self.token.token_type)

    def expression(self, least: int = 0) -> Expr:
        """An expression whose operators bind at least this tightly."""
        self.levels += 1
        # Parentheses are no levels of the tree, so they have a bound of their own: a tree that fits is read even when
        # each of its levels is written in parentheses. Both bounds together keep Python's stack below 600 frames.
        if max(self.levels - self.parentheses, self.parentheses) > DEPTH_MAX:
            raise TooLarge(f"more than {DEPTH_MAX} levels", at=self.here(), expected=_SMALLER)
        start = self.here()
        left = self.unary()
        while (operator := self.operator()) is not None and BINDS[operator] >= least:
            if operator in ("and", "or"):
                left = self.chain(operator, left)
                continue
            self.at += 2 if operator == "not in" else 1
            right = self.expression(BINDS[operator] + 1)
            left = _joined(operator, left, right, self.since(start))
        self.levels -= 1
        return left

    def chain(self, operator: str, first: Expr) -> Expr:
        """The operands that follow each other under one operator, as a balanced tree."""
        operands = [first]
        while self.operator() == operator:
            self.at += 1
            operands.append(self.expression(BINDS[operator] + 1))
        return balanced(And if operator == "and" else Or, operands)

    def unary(self) -> Expr:
        start = self.here()
        if self.is_word("not"):
            return self.prefixed(Not, BINDS_NOT)
        if self.is_next(TokenType.NOT):
            return self.prefixed(Not, BINDS_UNARY)
        if self.is_next(TokenType.DASH):
            if not self.is_next(TokenType.NUMBER, 1):
                return self.prefixed(Negate, BINDS_UNARY)
            self.at += 1
            return Constant(0.0 - self.number(), at=self.since(start))
        return self.primary()

    def prefixed(self, node: Callable[..., Expr], least: int) -> Expr:
        start = self.here()
        self.at += 1
        operand = self.expression(least)
        return node(operand, at=self.since(start))

    # ── primaries ────────────────────────────────────────────────────────────────────────────────────────────────

    def primary(self) -> Expr:
        start = self.here()
        if self.is_next(TokenType.NUMBER):
            return Constant(self.number(), at=start)
        if self.is_next(TokenType.STRING):
            return Constant(self.string(_VALUE), at=start)
        if self.is_next(TokenType.L_PAREN):
            self.at += 1
            self.parentheses += 1
            inside = self.expression()
            self.parentheses -= 1
            self.take(TokenType.R_PAREN, "an operator or )")
            return replace(inside, at=self.since(start))
        if self.is_next(TokenType.L_BRACKET):
            return self.list_of()
        if self.is_next(TokenType.VAR) or self.is_next(TokenType.IDENTIFIER):
            return self.named()
        raise self.unexpected(_VALUE)

    def number(self) -> float:
        at = self.take(TokenType.NUMBER, "a number")
        # sqlglot ends a number at the first character that does not fit: 7d, 1.2.3 and 1_000 are two tokens each.
        while self.token and self.here().start == at.end and not _ends_number(self.written(self.here())):
            at = Span(at.start, self.here().end)
            self.at += 1
        written = self.written(at)
        if not _NUMBER.fullmatch(written):
            remedy = 'a number such as 12, 0.5 or 1e6; an event that begins with a digit is written events["2fa"]'
            raise SyntaxRefused(f"unexpected {written}", at=at, expected=remedy)
        if float(written) == float("inf"):
            raise SyntaxRefused("a number that is not finite", at=at, expected="a number below 1.8e308")
        if float(written) == 0.0 and re.match(r"[0.]*[1-9]", written):
            raise SyntaxRefused("a number that is nearer to 0 than any", at=at, expected="0, or a number above 5e-324")
        return float(written)

    def string(self, expected: str) -> str:
        at = self.take(TokenType.STRING, expected)
        written = self.written(at)
        unknown = unknown_escape(written)
        if unknown is not None:
            letter = written[unknown.end - 1]
            letter = letter if letter.isprintable() else ascii(letter)[1:-1]
            raise SyntaxRefused(
                f"a backslash before {letter}",
                at=Span(at.start + unknown.start, at.start + unknown.end),
                expected=f"{letter} alone, or \\\\ for a backslash; one stands before \\, \" and ' only",
            )
        return string_value(written)

    def list_of(self) -> Expr:
        start = self.take(TokenType.L_BRACKET, "[")
        items: list[Expr] = []
        while not self.is_next(TokenType.R_BRACKET):
            if items:
                self.take(TokenType.COMMA, ", or ]")
            item = self.expression()
            if not isinstance(item, Constant):
                raise SyntaxRefused(
                    "a list holds constants", at=item.at, expected="a number, a string, true, false or null"
                )
            items.append(item)
            if len(items) > ITEMS_MAX:
                raise TooLarge(f"a list of more than {ITEMS_MAX} items", at=item.at, expected="a shorter list")
        self.at += 1
        return ListOf(tuple(items), at=self.since(start))

    def named(self) -> Expr:
        """A constant, a call, or the thing that a bare name stands for."""
        start = self.here()
        is_backticked = self.is_next(TokenType.IDENTIFIER)
        word = self.name("a name")
        self.names_read = [word]
        if not is_backticked:
            if word in _CONSTANTS:
                return Constant(_CONSTANTS[word], at=start)
            if word in ("in", "and", "or", "not"):
                self.at -= 1
                raise self.unexpected(_VALUE)
            if self.is_next(TokenType.L_PAREN):
                return self.reference(word, start) if word in ("trait", "segment") else self.call(word, start)
        if self.is_in_where:
            return self.property(word, is_backticked, start)
        if not is_backticked and word == "events":
            return self.aggregation(start)
        if not is_backticked and word == "profile":
            key, *inner = self.names('an attribute: .NAME or ["NAME"]')
            return Attribute(key, tuple(inner), at=self.since(start))
        if self.has_name():
            raise UnknownName(
                f"{word} has no fields",
                at=start,
                expected="events.… or profile.…",
                nearest=nearest_names(word, ("events", "profile")),
            )
        aggregate = None if is_backticked else self.aggregate(word, start, is_root=True)
        if aggregate is not None:
            return Aggregation(aggregate[0], Source(), aggregate[1], at=start)
        return TraitRef(word, at=start)

    def reference(self, word: str, start: Span) -> Expr:
        if self.is_in_where:
            raise SyntaxRefused(f"{word}(…) inside where(…)", at=start, expected="properties of the event")
        self.take(TokenType.L_PAREN, "(")
        key = self.string(f"the {word}'s key in quotes")
        self.take(TokenType.R_PAREN, ")")
        return (TraitRef if word == "trait" else SegmentRef)(key, at=self.since(start))

    def call(self, word: str, start: Span) -> Expr:
        function = FUNCTIONS.get(word)
        if function is None or function.internal:
            raise self.no_function(word, start)
        if word == "days_since" and self.is_in_where:
            raise SyntaxRefused(
                "days_since(…) inside where(…): which events count cannot change while no event comes",
                at=start,
                expected="a condition on properties alone",
            )
        if word == "bucket" and self.is_in_where:
            raise SyntaxRefused("bucket(…) inside where(…)", at=start, expected="a condition on properties alone")
        self.take(TokenType.L_PAREN, "(")
        args: list[Expr] = []
        while not self.is_next(TokenType.R_PAREN):
            if args:
                self.take(TokenType.COMMA, ", or )")
            args.append(self.expression())
        self.at += 1
        least, most = len(function.takes) - function.optional, len(function.takes)
        if len(args) < least or (len(args) > most and not function.variadic):
            count = f"{least} or more" if function.variadic else f"{least}" if least == most else f"{least} to {most}"
            given = "1 argument" if len(args) == 1 else f"{len(args)} arguments"
            raise SyntaxRefused(f"{word} with {given}", at=self.since(start), expected=f"{count}: {function.says}")
        return Call(word, tuple(args), at=self.since(start))

    def no_function(self, word: str, at: Span) -> UnknownName:
        public = [name for name, function in FUNCTIONS.items() if not function.internal]
        if word == "where":
            expected = "where(…) behind an event: events.EVENT.where(…).AGGREGATE"
        elif stem(word) in AGGREGATES:
            expected = f"an aggregate behind its event: events.EVENT.PROPERTY.{word}"
        else:
            expected = f"one of {', '.join((*public, 'trait', 'segment'))}"
        nearest = nearest_names(word, (*public, "trait", "segment"))
        return UnknownName(f"no function {word}", at=at, expected=expected, nearest=nearest)

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────

    def name(self, expected: str) -> str:
        """A plain name, or one in backticks."""
        if self.is_next(TokenType.IDENTIFIER):
            at = self.take(TokenType.IDENTIFIER, expected)
            if not name_value(self.written(at)):
                raise SyntaxRefused("an empty name", at=at, expected=expected)
            return name_value(self.written(at))
        word = self.written(self.take(TokenType.VAR, expected))
        if not is_plain(word):
            self.at -= 1
            raise self.unexpected(f"{expected}; one with other characters than A-Z, a-z, 0-9 and _ stands in backticks")
        return word

    def has_name(self) -> bool:
        return self.is_next(TokenType.DOT) or self.is_next(TokenType.L_BRACKET)

    def step(self, expected: str) -> str:
        """A name behind another: behind a dot, or in brackets."""
        if self.is_next(TokenType.L_BRACKET):
            self.at += 1
            at = self.here()
            name = self.string("a name in quotes")
            if not name:
                raise SyntaxRefused("an empty name", at=at, expected=expected)
            self.take(TokenType.R_BRACKET, "]")
        else:
            self.take(TokenType.DOT, expected)
            name = self.name(expected if "[" in expected else f'{expected} (["…"] for names that are no words)')
        self.names_read.append(name)
        return name

    def names(self, expected: str) -> list[str]:
        names = [self.step(expected)]
        while self.has_name():
            self.require_room(names)
            names.append(self.step("a name"))
        return names

    def require_room(self, names: list[str]) -> None:
        """Refuses the next name if there are too many before it."""
        if len(names) == NAMES_MAX:
            raise TooLarge(f"more than {NAMES_MAX} names behind each other", at=self.here(), expected="fewer names")

    def property(self, word: str, is_backticked: bool, start: Span) -> Expr:
        if not is_backticked and word in RESERVED:
            raise SyntaxRefused(
                f"{word} inside where(…)", at=start, expected=f"properties of the event; one of that name is `{word}`"
            )
        inner = self.names("a name") if self.has_name() else []
        return Property(".".join([word, *inner]), at=self.since(start))

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def aggregation(self, start: Span) -> Expr:
        if self.is_where():
            self.at += 1
            remedy = "the event's name before it: events.NAME.where(…)"
            raise SyntaxRefused("where(…) without an event", at=self.here(), expected=remedy)
        event = self.step('an event: .NAME or ["NAME"]')
        conditions: list[Expr] = []
        while self.is_where():
            self.at += 3
            conditions.append(self.condition(event))
            self.names_read = ["events", event]
        where = balanced(And, conditions) if conditions else None
        names: list[str] = []
        at, is_word = self.here(), False
        while self.has_name():
            if self.is_where():
                self.at += 1
                raise SyntaxRefused(
                    "where(…) behind a property", at=self.here(), expected="where(…) right behind the event"
                )
            self.require_room(names)
            is_word = self.is_next(TokenType.DOT) and self.is_next(TokenType.VAR, 1)
            begin = self.here().end if self.is_next(TokenType.DOT) else self.here().start
            names.append(self.step("a property or an aggregate"))
            at = Span(begin, self.since(start).end)
        if not names:
            dash = '; a name with a dash is written events["…"]' if self.is_next(TokenType.DASH) else ""
            raise self.unexpected(f"an aggregate, such as .count_30d{dash}")
        *properties, word = names
        aggregate = self.aggregate(word, at) if is_word else None
        if aggregate is None:
            nearest = nearest_names(stem(word), AGGREGATES)
            raise UnknownName(f"no aggregate {word}", at=at, expected=_AGGREGATE, nearest=nearest)
        name, window = aggregate
        if AGGREGATES[name].takes == "required" and not properties:
            remedy = f"a property before it, as in events{path([event])}.PROPERTY.{word}"
            raise SyntaxRefused(f"{name} needs a property", at=at, expected=remedy)
        source = Source(event, where, ".".join(properties) if properties else None)
        return Aggregation(name, source, window, at=self.since(start))

    def is_where(self) -> bool:
        return self.is_next(TokenType.DOT) and self.is_word("where", 1) and self.is_next(TokenType.L_PAREN, 2)

    def condition(self, event: str) -> Expr:
        """The condition of a `where` on events of this name."""
        self.is_in_where = True
        condition = self.expression()
        self.is_in_where = False
        self.take(TokenType.R_PAREN, "an operator or )")
        return condition

    def aggregate(self, word: str, at: Span, is_root: bool = False) -> tuple[str, Window | None] | None:
        try:
            return root_aggregate_named(word) if is_root else aggregate_named(word)
        except ExpressionError as error:
            raise error.placed(at) from None


def _ends_number(mark: str) -> bool:
    """Whether a token may stand right behind a number."""
    return not (mark[0].isalnum() or mark[0] in "._'\"`$#")


def _joined(operator: str, left: Expr, right: Expr, at: Span) -> Expr:
    match operator:
        case "in":
            return In(left, right, at=at)
        case "not in":
            return Not(In(left, right, at=at), at=at)
        case "+" | "-" | "*" | "/" | "%":
            return Arithmetic(operator, left, right, at=at)
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return Compare(operator, left, right, at=at)
        case _:
            raise AssertionError(f"{operator} is no operator between two values")
