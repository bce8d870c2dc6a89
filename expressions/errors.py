"""What can be wrong with an expression, and how it is said.

    ExpressionError
    ├── SyntaxRefused     the text is not of the language
    ├── UnknownName       no such function, aggregate, trait, segment
    ├── TypeRefused       the kinds do not fit
    ├── CycleRefused      definitions that need each other
    └── TooLarge          beyond the bounds on length, depth or size

Data first, text second: the console underlines `start`..`end`, a terminal prints `str(error)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from expressions.ops import Span


class ExpressionError(ValueError):
    """An expression that is refused: what is wrong, where, what was expected, and the nearest known names."""

    code = "invalid_expression"

    def __init__(
        self, message: str, text: str = "", at: Span | None = None, expected: str = "", nearest: Iterable[str] = ()
    ) -> None:
        self.message = message
        self.text = text
        self.at = at or Span(0, 0)
        self.expected = expected
        self.nearest = tuple(nearest)
        self.definition = ""
        super().__init__(message)

    @property
    def line(self) -> int:
        """From 1."""
        return self.text.count("\n", 0, self.at.start) + 1

    @property
    def column(self) -> int:
        """From 1, in characters."""
        return self.at.start - (self.text.rfind("\n", 0, self.at.start) + 1) + 1

    def with_text(self, text: str) -> ExpressionError:
        """The same error, knowing the text it stands in."""
        self.text = self.text or text
        return self

    def of(self, kind: str, key: str) -> ExpressionError:
        """The same error, knowing the definition it is in."""
        self.definition = self.definition or f"{kind} '{key}'"
        return self

    def as_details(self) -> dict[str, object]:
        """For answers over the wire."""
        return {
            "line": self.line,
            "column": self.column,
            "start": self.at.start,
            "end": self.at.end,
            "expected": self.expected,
            "nearest": list(self.nearest),
        }

    def __str__(self) -> str:
        """The message, then the line with a caret under the place, then what would help."""
        parts = [f"{self.message} (line {self.line}, column {self.column})" if self.text else self.message]
        if self.text:
            line = self.text.split("\n")[self.line - 1]
            width = max(1, min(self.at.end - self.at.start, len(line) - self.column + 1))
            parts += [f"  {line}", f"  {' ' * (self.column - 1)}{'^' * width}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.nearest:
            parts.append(f"did you mean {' or '.join(self.nearest)}?")
        return "\n".join(parts)


class SyntaxRefused(ExpressionError):
    """The text is not of the language."""

    code = "syntax_error"


class UnknownName(ExpressionError):
    """No function, aggregate, trait or segment of that name."""

    code = "unknown_name"


class TypeRefused(ExpressionError):
    """The kinds of the values do not fit the operation."""

    code = "type_error"


class CycleRefused(ExpressionError):
    """Definitions that need each other."""

    code = "cycle"


class TooLarge(ExpressionError):
    """Beyond the bounds on length, depth or size."""

    code = "too_large"


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """The known names most like this one, best first."""
    return tuple(get_close_matches(name, list(known), n=most, cutoff=0.6))
