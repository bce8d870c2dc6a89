"""What can be wrong with an expression, and how it is said.

    ExpressionError
    ├── SyntaxRefused     the text is not of the language
    ├── UnknownName       no such function, aggregate, trait, segment
    ├── TypeRefused       the kinds do not fit
    ├── CycleRefused      definitions that need each other
    ├── KeyRefused        a key that the language has given a meaning already
    └── TooLarge          beyond the bounds on length, depth or size

Data first, text second: the console underlines `start`..`end`, a terminal prints `str(error)`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from .ops import Span

#: A line is shown this many characters to either side of the place, so that an error stays readable.
_SHOWN_CHARACTERS = 60


class ExpressionError(ValueError):
    """An expression that is refused: what is wrong, where, what was expected, and the nearest known names.

    `definition` names the definition it is in ("trait 'buyers'"), where one is known. Without `at` the error is not in
    the text (but in a key, say), and no line of it is shown.
    """

    code = "invalid_expression"

    def __init__(
        self, message: str, text: str = "", at: Span | None = None, expected: str = "", nearest: Iterable[str] = ()
    ) -> None:
        self.message = message
        self.text = text
        self.has_place = at is not None
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

    def placed(self, at: Span) -> ExpressionError:
        """The same error, knowing its place, unless it did before."""
        if not self.has_place:
            self.at, self.has_place = at, True
        return self

    def with_text(self, text: str) -> ExpressionError:
        """The same error, knowing the text it stands in, unless it did before."""
        self.text = self.text or text
        return self

    def of(self, kind: str, key: str) -> ExpressionError:
        """The same error, knowing the definition it is in, unless it did before."""
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
            "definition": self.definition,
        }

    @property
    def shown(self) -> tuple[str, ...]:
        """The line with carets under the place, as two lines of a terminal; nothing where the error has no place."""
        if not (self.text and self.has_place):
            return ()
        return _underlined(self.text.split("\n")[self.line - 1], self.column - 1, self.at)

    def __str__(self) -> str:
        """The message with its place, then the line with a caret under the place, then what would help."""
        where = [self.definition] if self.definition else []
        where += [f"line {self.line}, column {self.column}"] if self.shown else []
        parts = [f"{self.message} ({', '.join(where)})" if where else self.message]
        parts += [f"  {one}" for one in self.shown]
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


class KeyRefused(ExpressionError):
    """A key that would hide a name of the language, or be hidden by it."""

    code = "invalid_key"


class TooLarge(ExpressionError):
    """Beyond the bounds on length, depth or size."""

    code = "too_large"


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """The known names most like this one, best first; capitals do not matter."""
    by_folded: dict[str, list[str]] = {}
    for one in known:
        by_folded.setdefault(one.casefold(), []).append(one)
    found = get_close_matches(name.casefold(), list(by_folded), n=most, cutoff=0.6)
    return tuple(one for folded in found for one in sorted(by_folded[folded]))[:most]


def _underlined(line: str, start: int, at: Span) -> tuple[str, str]:
    """The part of a line around a place, and the carets that stand under it in a terminal."""
    line = "".join(
        char if char == "\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line.rstrip("\r")
    )
    end = max(start + 1, min(start + at.end - at.start, len(line)))
    low, high = max(0, start - _SHOWN_CHARACTERS), min(len(line), start + _SHOWN_CHARACTERS)
    before, after = "…" if low else "", "…" if high < len(line) else ""
    blank = "".join("\t" if char == "\t" else " " * _cells(char) for char in line[low:start])
    carets = "^" * sum(max(1, _cells(char)) for char in line[start : min(end, high)].ljust(1))
    return f"{before}{line[low:high]}{after}", f"{' ' * len(before)}{blank}{carets}"


def _cells(char: str) -> int:
    """How many cells of a terminal a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
