"""The sqlglot dialect that is our syntax.

Its tokenizer knows strings in either quote, names in backticks and our operators, and nothing else: no comments, no
keywords of SQL, nothing inherited by luck. Its parser is `parse.py`'s grammar and not sqlglot's, which reads SQL first,
would let `(select 1) > 0` or an unknown function through, and has positions on names alone. Generation (`to_sql.py`) is
sqlglot's own, dialect by dialect.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlglot.dialects.dialect import Dialect
from sqlglot.tokens import Tokenizer as SqlglotTokenizer
from sqlglot.tokens import TokenType


class TinyCDP(Dialect):
    """Trait expressions, segment rules and flag rules."""

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
        }
        SINGLE_TOKENS: ClassVar[dict[str, TokenType]] = {
            mark: kind for mark, kind in SqlglotTokenizer.SINGLE_TOKENS.items() if mark in "()[],.<>+-*/%!'\"`"
        }
