"""The sqlglot dialect that is our syntax: text to tokens, each with its place.

Its tokenizer knows words, numbers, strings in either quote, names in backticks and the marks below. It knows no
comments and no keywords of SQL, and inherits nothing by luck. `parse.py` has the grammar over these tokens. sqlglot's
own parser does not fit, for three reasons. It reads SQL first, so every query and type would have to be forbidden
again. It keeps positions on names alone. It spends a dozen stack frames on a parenthesis, and 64 of them, our bound,
exceed Python's limit.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ParseError, TokenError
from sqlglot.parser import Parser as SqlglotParser
from sqlglot.tokens import Token, TokenType
from sqlglot.tokens import Tokenizer as SqlglotTokenizer

from ..errors import SyntaxRefused
from ..ops import Span


class TinyCDP(Dialect):
    """The dialect of trait expressions, segment rules and flag rules."""

    class Tokenizer(SqlglotTokenizer):
        """Words, numbers, strings, and the marks of the language."""

        QUOTES: ClassVar[list[Any]] = ["'", '"']
        IDENTIFIERS: ClassVar[list[Any]] = ["`"]
        STRING_ESCAPES: ClassVar[list[str]] = ["\\"]
        IDENTIFIER_ESCAPES: ClassVar[list[str]] = []
        COMMENTS: ClassVar[list[Any]] = []
        KEYWORDS: ClassVar[dict[str, TokenType]] = {
            "&&": TokenType.AND,
            "||": TokenType.OR,
            "==": TokenType.EQ,
            "!=": TokenType.NEQ,
            ">=": TokenType.GTE,
            "<=": TokenType.LTE,
            # each is read as one token, so that it is refused as one
            "===": TokenType.UNKNOWN,
            "!==": TokenType.UNKNOWN,
            "<>": TokenType.UNKNOWN,
        }
        SINGLE_TOKENS: ClassVar[dict[str, TokenType]] = {
            "(": TokenType.L_PAREN,
            ")": TokenType.R_PAREN,
            "[": TokenType.L_BRACKET,
            "]": TokenType.R_BRACKET,
            ",": TokenType.COMMA,
            ".": TokenType.DOT,
            "<": TokenType.LT,
            ">": TokenType.GT,
            "+": TokenType.PLUS,
            "-": TokenType.DASH,
            "*": TokenType.STAR,
            "/": TokenType.SLASH,
            "%": TokenType.MOD,
            "!": TokenType.NOT,
            # These marks only end a word. Braces and # must not be among them: sqlglot adds the comments {# … #} to
            # every dialect, and finds them by such marks.
            **dict.fromkeys("=&|;:?@^~\\'\"`", TokenType.UNKNOWN),
        }

    class Parser(SqlglotParser):
        """sqlglot's parser, which is never used."""

        def parse(self, raw_tokens: list[Token], sql: str | None = None) -> list[Any]:
            """Raises `ParseError`, since sqlglot's grammar would take SQL for an expression."""
            raise ParseError("expressions are read by expressions.text.parse")


def tokens(text: str) -> list[Token]:
    """The tokens of an expression. Raises `SyntaxRefused` where a quote is not closed."""
    try:
        return list(TinyCDP().tokenize(text))
    except TokenError as error:
        start = open_quote(text)
        at = Span(start, len(text))
        raise SyntaxRefused("a quote is not closed", text, at, expected=f"{text[start]} at its end") from error


def span(token: Token) -> Span:
    """Where a token stands, its quotes included."""
    return Span(token.start, token.end + 1)


#: A backslash and the character behind it, and those of them that mean something: the character for itself.
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = "\\\"'"


def string_value(written: str) -> str:
    """The value of a string in quotes: a backslash makes the quote or backslash behind it stand for itself."""
    return _ESCAPE.sub(r"\1", written[1:-1])


def unknown_escape(written: str) -> Span | None:
    """Where a string in quotes has a backslash before another character than a quote or a backslash; None nowhere."""
    places = (match.span() for match in _ESCAPE.finditer(written, 1, len(written) - 1) if match[1] not in _ESCAPED)
    return next((Span(*place) for place in places), None)


def without_unknown_escapes(text: str) -> str:
    """The expression that means what this one meant while a backslash before any character was left out.

    Such texts were saved. A text that was never an expression stays as it is.
    """
    if "\\" not in text:
        return text
    try:
        strings = [span(token) for token in tokens(text) if token.token_type == TokenType.STRING]
    except SyntaxRefused:
        return text
    for at in reversed(strings):
        written = _ESCAPE.sub(lambda match: match[0] if match[1] in _ESCAPED else match[1], text[at.start : at.end])
        text = text[: at.start] + written + text[at.end :]
    return text


def name_value(written: str) -> str:
    """The name that stands in backticks: two backticks inside it are one."""
    return written[1:-1].replace("``", "`")


def open_quote(text: str) -> int:
    """The place of the quote that is never closed, which alone makes a text unreadable as tokens."""
    at, quote, start = 0, "", 0
    while at < len(text):
        if quote:
            if (text[at] == "\\" and quote != "`") or text[at : at + 2] == "``" == quote * 2:
                at += 1  # the next character stands for itself
            elif text[at] == quote:
                quote = ""
        elif text[at] in "'\"`":
            quote, start = text[at], at
        at += 1
    assert quote, "tokens fail for an open quote alone"
    return start
