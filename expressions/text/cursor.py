"""A place in the tokens of an expression, and the refusal of what was not expected there."""

from __future__ import annotations

from sqlglot.tokens import Token, TokenType

from ..errors import SyntaxRefused
from ..ops import Span
from .dialect import span, tokens

#: What other languages write -> what this language writes for it.
_ELSEWHERE = {
    "=": "== to compare",
    "===": "== to compare",
    "!==": "!= to compare",
    "<>": "!= to compare",
    "&": "&&",
    "|": "||",
    "?": "if(condition, then, else)",
    ";": "one expression",
}


class Cursor:
    """A place between tokens, which moves from left to right; `token` is the next one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.at = 0

    @property
    def token(self) -> Token | None:
        """The next token; None at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def here(self) -> Span:
        """Where the next token stands; at the end, the place behind the last one."""
        if self.token:
            return span(self.token)
        end = span(self.tokens[-1]).end if self.tokens else 0
        return Span(end, end + 1)

    def since(self, start: Span) -> Span:
        """The place from `start` to the end of the token that was passed last."""
        return Span(start.start, max(start.end, span(self.tokens[self.at - 1]).end))

    def is_next(self, kind: TokenType, ahead: int = 0) -> bool:
        """Whether the next token is of this kind, or the one that comes `ahead` tokens later."""
        index = self.at + ahead
        return index < len(self.tokens) and self.tokens[index].token_type == kind

    def is_word(self, word: str, ahead: int = 0) -> bool:
        """Whether the next token, or the one that comes `ahead` tokens later, is this very word."""
        return self.is_next(TokenType.VAR, ahead) and self.tokens[self.at + ahead].text == word

    def written(self, at: Span) -> str:
        """The text of a place."""
        return self.text[at.start : at.end]

    def take(self, kind: TokenType, expected: str) -> Span:
        """The place of the next token, which must be of this kind and is passed. Raises `SyntaxRefused` for another."""
        if not self.is_next(kind):
            raise self.unexpected(expected)
        self.at += 1
        return span(self.tokens[self.at - 1])

    def unexpected(self, expected: str) -> SyntaxRefused:
        """The refusal of the next token, or of the end."""
        if not self.tokens:
            return SyntaxRefused("the expression is empty", at=self.here(), expected=expected)
        if self.token is None:
            return SyntaxRefused("the expression ends too early", at=self.here(), expected=expected)
        word = self.written(self.here())
        printable = word if word.isprintable() else ascii(word)[1:-1]
        return SyntaxRefused(f"unexpected {printable}", at=self.here(), expected=_ELSEWHERE.get(word, expected))
