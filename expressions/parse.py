"""Text to nodes: the whole grammar, a closed list. Every refusal says where, what was expected, and the nearest names.

    expression := expression OPERATOR expression | not expression | ! expression | - expression | primary
    primary    := NUMBER | STRING | true | false | null | ( expression ) | [ constant, … ]
                | events NAME [.where( condition )]… [.PROPERTY]… .AGGREGATE[_WINDOW]
                | profile NAME [NAME]…  |  trait("k")  |  segment("k")  |  FUNCTION( expression, … )
                | ROOT_AGGREGATE[_WINDOW]  |  TRAIT
    NAME       := .identifier | ["any text"] | .`any text`

Operators bind, from loose to tight: `||` or · `&&` and · not · `== !=` · `< <= > >=` · in, not in · `+ -` · `* / %` ·
`! -`; equals bind to the left. Inside `where` a name is a property of the event.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from sqlglot.errors import TokenError
from sqlglot.tokens import Token, TokenType

from expressions.aggregates import AGGREGATES
from expressions.dialect import TinyCDP
from expressions.errors import ExpressionError, SyntaxRefused, TooLarge, UnknownName, nearest_names
from expressions.functions import FUNCTIONS
from expressions.ops import (
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
    children,
)
from expressions.windows import UNIT_MS, WINDOW_MS_MAX, Window

CHARACTERS_MAX = 10_000
DEPTH_MAX = 64
NODES_MAX = 2_000
ITEMS_MAX = 1_000

RESERVED = frozenset({"true", "false", "null", "in", "and", "or", "not", "events", "profile"})

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WINDOWED = re.compile(r"(.+)_(\d+)([a-z]+)")

#: How tightly each binary operator binds. `not` stands between and (2) and equality (4).
_BINDS: dict[str, int] = {
    "or": 1,
    "and": 2,
    "==": 4,
    "!=": 4,
    "<": 5,
    "<=": 5,
    ">": 5,
    ">=": 5,
    "in": 6,
    "not in": 6,
    "+": 7,
    "-": 7,
    "*": 8,
    "/": 8,
    "%": 8,
}
_NOT_BINDS = 4
_UNARY_BINDS = 9

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
_VALUE = "a value, a name or ("


def parse(text: str) -> Expr:
    """The tree of an expression. Raises `SyntaxRefused`, `UnknownName` (functions, aggregates) or `TooLarge`."""
    if len(text) > CHARACTERS_MAX:
        raise TooLarge(f"an expression of {len(text)} characters", "", expected=f"at most {CHARACTERS_MAX}")
    try:
        return _Parser(text).parsed()
    except ExpressionError as error:
        raise error.with_text(text) from None


def parse_aggregate(word: str) -> tuple[str, Window | None] | None:
    """The aggregate and window that a name such as `count_30d` means; None if it means none. Raises on a bad window."""
    if word in AGGREGATES:
        return word, None
    found = _WINDOWED.fullmatch(word)
    if not found or found[1] not in AGGREGATES:
        return None
    aggregate, digits, unit = found.groups()
    if unit not in UNIT_MS:
        raise SyntaxRefused(f"'{unit}' is no unit of a window", expected="m, h or d, as in count_30d")
    length = int(digits) if len(digits) < 12 else 10**12
    if not 0 < length * UNIT_MS[unit] <= WINDOW_MS_MAX:
        raise SyntaxRefused(f"a window of {digits}{unit}", expected="from 1m to 3650d")
    dates = AGGREGATES[aggregate].dates
    if dates and unit != "d":
        raise SyntaxRefused(f"{aggregate} counts calendar dates", expected=f"days, as in {aggregate}_7d")
    return aggregate, Window(length, unit, dates)  # type: ignore[arg-type]


class _Parser:
    """Reads tokens from left to right; each method leaves the cursor behind what it read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.in_where = False

    # ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def token(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def here(self) -> Span:
        """Where the next token stands; behind the end there is one character."""
        return _span(self.token) if self.token else Span(len(self.text.rstrip()), len(self.text.rstrip()) + 1)

    def since(self, start: Span) -> Span:
        """From `start` to the end of what was read last."""
        return Span(start.start, max(start.end, _span(self.tokens[self.at - 1]).end))

    def is_next(self, kind: TokenType, ahead: int = 0) -> bool:
        index = self.at + ahead
        return index < len(self.tokens) and self.tokens[index].token_type == kind

    def is_word(self, word: str, ahead: int = 0) -> bool:
        return self.is_next(TokenType.VAR, ahead) and self.tokens[self.at + ahead].text == word

    def take(self, kind: TokenType, expected: str) -> Token:
        if not self.is_next(kind):
            raise self.unexpected(expected)
        self.at += 1
        return self.tokens[self.at - 1]

    def unexpected(self, expected: str) -> SyntaxRefused:
        if self.token is None:
            return SyntaxRefused("the expression ends too early", at=self.here(), expected=expected)
        shown = self.text[self.here().start : self.here().end]
        return SyntaxRefused(f"unexpected {shown}", at=self.here(), expected=expected)

    # ── operators ────────────────────────────────────────────────────────────────────────────────────────────────

    def parsed(self) -> Expr:
        found = self.binary(0)
        if self.token is not None:
            word = self.token.text
            nearest = nearest_names(word, ("and", "or", "in", "not")) if self.is_next(TokenType.VAR) else ()
            error = self.unexpected("an operator, or the end")
            error.nearest = nearest
            raise error
        _check_size(found)
        return found

    def operator(self) -> str | None:
        """The binary operator that comes next."""
        if self.token is None:
            return None
        if self.is_next(TokenType.VAR):
            word = self.token.text
            if word == "not" and self.is_word("in", 1):
                return "not in"
            return word if word in ("and", "or", "in") else None
        return _MARKS.get(self.token.token_type)

    def binary(self, least: int) -> Expr:
        """An expression whose operators bind at least this tightly."""
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise TooLarge(f"more than {DEPTH_MAX} levels", at=self.here(), expected="traits of its own for the parts")
        start = self.here()
        left = self.unary()
        while (word := self.operator()) is not None and _BINDS[word] >= least:
            at = self.here()
            self.at += 2 if word == "not in" else 1
            if word in ("and", "or"):
                left = self.chain(word, left)
                continue
            right = self.binary(_BINDS[word] + 1)
            left = _joined(word, left, right, self.since(start), at)
        self.depth -= 1
        return left

    def chain(self, word: str, first: Expr) -> Expr:
        """All operands of a run of `&&` or `||`, as a balanced tree: a long list of conditions is not a deep one."""
        operands = [first, self.binary(_BINDS[word] + 1)]
        while self.operator() == word:
            self.at += 1
            operands.append(self.binary(_BINDS[word] + 1))
        return _balanced(And if word == "and" else Or, operands)

    def unary(self) -> Expr:
        start = self.here()
        if self.is_word("not"):
            self.at += 1
            return self.wrapped(Not, _NOT_BINDS, start)
        if self.is_next(TokenType.NOT):
            self.at += 1
            return self.wrapped(Not, _UNARY_BINDS, start)
        if self.is_next(TokenType.DASH):
            self.at += 1
            negated = self.wrapped(Negate, _UNARY_BINDS, start)
            operand = negated.operand if isinstance(negated, Negate) else None
            if isinstance(operand, Constant) and isinstance(operand.value, float):
                return Constant(0.0 - operand.value, at=negated.at)
            return negated
        return self.primary()

    def wrapped(self, node: Callable[..., Expr], least: int, start: Span) -> Expr:
        operand = self.binary(least)
        return node(operand, at=self.since(start))

    # ── primaries ────────────────────────────────────────────────────────────────────────────────────────────────

    def primary(self) -> Expr:
        start = self.here()
        token = self.token
        if token is None:
            raise self.unexpected(_VALUE)
        match token.token_type:
            case TokenType.NUMBER:
                self.at += 1
                if self.is_next(TokenType.VAR) and self.here().start == start.end:
                    raise SyntaxRefused(
                        f"unexpected {self.text[start.start : self.here().end]}",
                        at=Span(start.start, self.here().end),
                        expected='a number; a name that begins with a digit is written events["2fa"]',
                    )
                return Constant(self.number(token.text, start), at=start)
            case TokenType.STRING:
                self.at += 1
                return Constant(self.string(start), at=start)
            case TokenType.L_PAREN:
                self.at += 1
                inside = self.binary(0)
                self.take(TokenType.R_PAREN, ")")
                return replace(inside, at=self.since(start))
            case TokenType.L_BRACKET:
                return self.list_of(start)
            case TokenType.VAR | TokenType.IDENTIFIER:
                return self.named(start)
            case _:
                raise self.unexpected(_VALUE)

    def number(self, text: str, at: Span) -> float:
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise SyntaxRefused("a number that is not finite", at=at, expected="a number below 1.8e308")
        return value

    def string(self, at: Span) -> str:
        """The text between the quotes; a backslash makes the next character stand for itself."""
        return re.sub(r"\\(.)", r"\1", self.text[at.start + 1 : at.end - 1], flags=re.DOTALL)

    def list_of(self, start: Span) -> Expr:
        self.at += 1
        items: list[Expr] = []
        while not self.is_next(TokenType.R_BRACKET):
            if items:
                self.take(TokenType.COMMA, ", or ]")
            at = self.here()
            item = self.binary(0)
            if not isinstance(item, Constant):
                raise SyntaxRefused(
                    "a list holds constants", at=item.at or at, expected="a number, a string, true, false or null"
                )
            items.append(item)
            if len(items) > ITEMS_MAX:
                raise TooLarge(f"a list of more than {ITEMS_MAX} items", at=item.at, expected="a trait or an attribute")
        self.at += 1
        return ListOf(tuple(items), at=self.since(start))

    def named(self, start: Span) -> Expr:
        is_quoted = self.is_next(TokenType.IDENTIFIER)
        word = self.name("a name")
        if not is_quoted:
            if word in ("true", "false", "null"):
                return Constant({"true": True, "false": False, "null": None}[word], at=start)
            if word in ("in", "and", "or", "not"):
                self.at -= 1
                raise self.unexpected(_VALUE)
            if self.is_next(TokenType.L_PAREN):
                return self.call(word, start)
        if self.in_where:
            return self.property(word, is_quoted, start)
        if not is_quoted and word == "events":
            return self.aggregation(start)
        if not is_quoted and word == "profile":
            key, *path = self.path(start)
            return Attribute(key, tuple(path), at=self.since(start))
        if self.is_next(TokenType.DOT) or self.is_next(TokenType.L_BRACKET):
            raise UnknownName(
                f"{word} has no fields",
                at=start,
                expected="events.… or profile.…",
                nearest=nearest_names(word, ("events", "profile")),
            )
        aggregate = None if is_quoted else self.aggregate(word, start)
        if aggregate is not None and AGGREGATES[aggregate[0]].takes == "optional":
            return Aggregation(aggregate[0], Source(), aggregate[1], at=start)
        return TraitRef(word, at=start)

    def name(self, expected: str) -> str:
        """A plain or a backticked name."""
        if self.is_next(TokenType.IDENTIFIER):
            token = self.take(TokenType.IDENTIFIER, expected)
            return self.text[_span(token).start + 1 : _span(token).end - 1]
        token = self.take(TokenType.VAR, expected)
        if not _NAME.fullmatch(token.text):
            self.at -= 1
            error = self.unexpected(expected)
            error.expected += "; other names stand in backticks" if token.text[:1].isalpha() else ""
            raise error
        return token.text

    def path(self, start: Span) -> list[str]:
        """One or more names, each with a dot or in brackets."""
        names: list[str] = []
        while True:
            if self.is_next(TokenType.DOT):
                self.at += 1
                names.append(self.name("a name"))
            elif self.is_next(TokenType.L_BRACKET):
                names.append(self.bracketed())
            elif names:
                return names
            else:
                raise self.unexpected('.NAME or ["NAME"]')

    def bracketed(self) -> str:
        self.take(TokenType.L_BRACKET, "[")
        at = self.here()
        self.take(TokenType.STRING, "a name in quotes")
        self.take(TokenType.R_BRACKET, "]")
        return self.string(at)

    def property(self, word: str, is_quoted: bool, start: Span) -> Expr:
        has_more = self.is_next(TokenType.DOT) or self.is_next(TokenType.L_BRACKET)
        if not is_quoted and word in ("events", "profile"):
            raise SyntaxRefused(
                f"{word} inside where(…)", at=start, expected="properties of the event; one of that name in backticks"
            )
        return Property(".".join([word, *(self.path(start) if has_more else [])]), at=self.since(start))

    def call(self, word: str, start: Span) -> Expr:
        self.at += 1
        if word in ("trait", "segment"):
            if self.in_where:
                raise SyntaxRefused(f"{word}(…) inside where(…)", at=start, expected="properties of the event")
            at = self.here()
            self.take(TokenType.STRING, f"the {word}'s key in quotes")
            self.take(TokenType.R_PAREN, ")")
            reference = TraitRef if word == "trait" else SegmentRef
            return reference(self.string(at), at=self.since(start))
        function = FUNCTIONS.get(word)
        if function is None or function.internal:
            public = [name for name, one in FUNCTIONS.items() if not one.internal]
            raise UnknownName(
                f"no function {word}",
                at=start,
                expected=f"one of {', '.join(public)}",
                nearest=nearest_names(word, public),
            )
        if word == "days_since" and self.in_where:
            raise SyntaxRefused(
                "days_since(…) inside where(…): which events count cannot change while no event comes",
                at=start,
                expected="a condition on properties alone",
            )
        args: list[Expr] = []
        while not self.is_next(TokenType.R_PAREN):
            if args:
                self.take(TokenType.COMMA, ", or )")
            args.append(self.binary(0))
        self.at += 1
        most = None if function.variadic else len(function.takes)
        least = len(function.takes) - function.optional
        if len(args) < least or (most is not None and len(args) > most):
            wanted = f"at least {least}" if most is None else f"{least}" if least == most else f"{least} to {most}"
            raise SyntaxRefused(
                f"{word} with {len(args)} arguments", at=self.since(start), expected=f"{wanted}: {function.says}"
            )
        return Call(word, tuple(args), at=self.since(start))

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────

    def aggregation(self, start: Span) -> Expr:
        event = self.path_step('an event: .NAME or ["NAME"]')[0]
        where: Expr | None = None
        while self.is_next(TokenType.DOT) and self.is_word("where", 1) and self.is_next(TokenType.L_PAREN, 2):
            self.at += 3
            condition = self.condition()
            where = condition if where is None else And(where, condition)
        names: list[tuple[str, bool, Span]] = []
        while self.is_next(TokenType.DOT) or self.is_next(TokenType.L_BRACKET):
            at = Span(self.here().start + 1, self.here().end + 1)
            if names and self.is_word("where", 1) and self.is_next(TokenType.L_PAREN, 2):
                raise SyntaxRefused("where(…) after a property", at=at, expected="where(…) right after the event")
            name, is_plain = self.path_step("a property or an aggregate")
            names.append((name, is_plain, Span(at.start, self.since(at).end)))
        expected = f"an aggregate: {', '.join(AGGREGATES)}"
        if not names:
            raise self.unexpected(f".AGGREGATE; {expected}")
        *properties, (word, is_plain, at) = names
        aggregate = self.aggregate(word, at) if is_plain else None
        if aggregate is None:
            base = _WINDOWED.fullmatch(word)
            raise UnknownName(
                f"no aggregate {word}",
                at=at,
                expected=expected,
                nearest=nearest_names(base[1] if base else word, AGGREGATES),
            )
        name, window = aggregate
        if AGGREGATES[name].takes == "required" and not properties:
            remedy = f"a property, as in events.{event}.PROPERTY.{word}"
            raise SyntaxRefused(f"{name} needs a property", at=at, expected=remedy)
        source = Source(event, where, ".".join(one for one, _, _ in properties) if properties else None)
        return Aggregation(name, source, window, at=self.since(start))

    def path_step(self, expected: str) -> tuple[str, bool]:
        """One name of a path, and whether it is written plainly (only then can it be an aggregate)."""
        if self.is_next(TokenType.L_BRACKET):
            return self.bracketed(), False
        self.take(TokenType.DOT, expected)
        is_plain = self.is_next(TokenType.VAR)
        return self.name("a name; others stand in brackets or backticks" if is_plain else expected), is_plain

    def condition(self) -> Expr:
        if self.in_where:
            raise SyntaxRefused("where(…) inside where(…)", at=self.here(), expected="one condition")
        self.in_where = True
        found = self.binary(0)
        self.in_where = False
        self.take(TokenType.R_PAREN, ")")
        return found

    def aggregate(self, word: str, at: Span) -> tuple[str, Window | None] | None:
        try:
            return parse_aggregate(word)
        except ExpressionError as error:
            error.at = at
            raise


def _tokens(text: str) -> list[Token]:
    try:
        return list(TinyCDP().tokenize(text))
    except TokenError as error:
        # The only thing that cannot be read as tokens: a quote without its partner.
        start = _open_quote(text)
        raise SyntaxRefused("a quote is not closed", text, Span(start, len(text)), expected=text[start]) from error


def _open_quote(text: str) -> int:
    """Where the quote stands that is never closed."""
    at, quote, start = 0, "", 0
    while at < len(text):
        if quote:
            if text[at] == "\\" and quote != "`":
                at += 1
            elif text[at] == quote:
                quote = ""
        elif text[at] in "'\"`":
            quote, start = text[at], at
        at += 1
    return start


def _span(token: Token) -> Span:
    return Span(token.start, token.end + 1)


def _joined(word: str, left: Expr, right: Expr, at: Span, operator_at: Span) -> Expr:
    match word:
        case "in":
            return In(left, right, at=at)
        case "not in":
            return Not(In(left, right, at=at), at=at)
        case "+" | "-" | "*" | "/" | "%":
            return Arithmetic(word, left, right, at=at)
        case "==" | "!=" | "<" | "<=" | ">" | ">=":
            return Compare(word, left, right, at=at)
        case _:
            raise AssertionError(f"{word} is no operator")


def _balanced(node: type[And] | type[Or], operands: list[Expr]) -> Expr:
    if len(operands) == 1:
        return operands[0]
    half = len(operands) // 2
    left, right = _balanced(node, operands[:half]), _balanced(node, operands[half:])
    assert left.at and right.at, "every parsed node knows where it stands"
    return node(left, right, at=Span(left.at.start, right.at.end))


def _check_size(root: Expr) -> None:
    """Bounds on the tree itself, found without recursion: whoever walks it later may recurse."""
    count, level = 0, [root]
    depth = 0
    while level:
        depth += 1
        count += len(level)
        if depth > DEPTH_MAX:
            raise TooLarge(f"more than {DEPTH_MAX} levels", at=level[0].at, expected="traits of its own for the parts")
        if count > NODES_MAX:
            raise TooLarge(f"more than {NODES_MAX} parts", at=root.at, expected="traits of its own for the parts")
        level = [child for node in level for child in children(node)]
