"""A place in the tokens of an expression, and what is said when something else was expected there."""

from __future__ import annotations

from sqlglot.tokens import Token, TokenType

from ..errors import SyntaxRefused
from ..ops import Span
from .dialect import span, tokens

#: What other languages write, and what it is called here.
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
    """Moves from left to right; `token` is what comes next."""

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
        """From `start` to the end of what was passed last."""
        return Span(start.start, max(start.end, span(self.tokens[self.at - 1]).end))

    def is_next(self, kind: TokenType, ahead: int = 0) -> bool:
        """Whether a token of this kind comes next, or so many later."""
        index = self.at + ahead
        return index < len(self.tokens) and self.tokens[index].token_type == kind

    def is_word(self, word: str, ahead: int = 0) -> bool:
        """Whether this very word comes next."""
        return self.is_next(TokenType.VAR, ahead) and self.tokens[self.at + ahead].text == word

    def written(self, at: Span) -> str:
        """The text of a place."""
        return self.text[at.start : at.end]

    def take(self, kind: TokenType, expected: str) -> Span:
        """Passes a token of this kind. Raises `SyntaxRefused` where another comes."""
        if not self.is_next(kind):
            raise self.unexpected(expected)
        self.at += 1
        return span(self.tokens[self.at - 1])

    def unexpected(self, expected: str) -> SyntaxRefused:
        """What comes next, refused."""
        if not self.tokens:
            return SyntaxRefused("the expression is empty", at=self.here(), expected=expected)
        if self.token is None:
            return SyntaxRefused("the expression ends too early", at=self.here(), expected=expected)
        word = self.written(self.here())
        shown = word if word.isprintable() else ascii(word)[1:-1]
        return SyntaxRefused(f"unexpected {shown}", at=self.here(), expected=_ELSEWHERE.get(word, expected))
