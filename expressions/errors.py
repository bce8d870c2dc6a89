"""What can be wrong with an expression: the errors, their data and their text.

    ExpressionError
    ├── SyntaxRefused     the text is not of the language
    ├── UnknownName       no such function, aggregate, trait, segment
    ├── TypeRefused       the kinds do not fit
    ├── CycleRefused      definitions that need each other
    ├── KeyRefused        a key that the language has given a meaning already
    ├── TreeRefused       a tree, as visual builders send it, that says no expression
    └── TooLarge          beyond the bounds on length, depth or size

An error is data first and text second: a console underlines `start` to `end`, a terminal prints `str(error)`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from .ops import Span

#: An excerpt has this many characters to either side of the place, so that an error stays readable.
_CONTEXT_CHARACTERS = 60


class ExpressionError(ValueError):
    """An expression that is refused: what is wrong, where, what was expected, and the nearest known names.

    `definition` names the definition that has the error ("trait 'buyers'"); it is empty while that is not known.
    Without `at` the error is not in the text (but in a key, for example), and has no excerpt.
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
        """The line of the place, from 1."""
        return self.text.count("\n", 0, self.at.start) + 1

    @property
    def column(self) -> int:
        """The column of the place, from 1, in characters."""
        return self.at.start - (self.text.rfind("\n", 0, self.at.start) + 1) + 1

    def placed(self, at: Span) -> ExpressionError:
        """The same error with its place; a place that it had before stays."""
        if not self.has_place:
            self.at, self.has_place = at, True
        return self

    def with_text(self, text: str) -> ExpressionError:
        """The same error with the text that has it; a text that it had before stays."""
        self.text = self.text or text
        return self

    def of(self, kind: str, key: str) -> ExpressionError:
        """The same error with the definition that has it; a definition that it had before stays."""
        self.definition = self.definition or f"{kind} '{key}'"
        return self

    def as_details(self) -> dict[str, object]:
        """The error as JSON for answers over the wire, without its message and code."""
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
    def excerpt(self) -> tuple[str, ...]:
        """The line, and carets under the place, as two lines of a terminal; empty where the error has no place."""
        if not (self.text and self.has_place):
            return ()
        return _underlined(self.text.split("\n")[self.line - 1], self.column - 1, self.at)

    def __str__(self) -> str:
        """The message with its place, then the excerpt, then what would help."""
        where = [self.definition] if self.definition else []
        where += [f"line {self.line}, column {self.column}"] if self.excerpt else []
        parts = [f"{self.message} ({', '.join(where)})" if where else self.message]
        parts += [f"  {line}" for line in self.excerpt]
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


class TreeRefused(ExpressionError):
    """A tree that says no expression. `way` leads from its root to the part: `tree.parts[1].left`."""

    code = "invalid_tree"

    def __init__(self, message: str, way: str, expected: str) -> None:
        super().__init__(f"{message}, at {way}", expected=expected)
        self.way = way


class TooLarge(ExpressionError):
    """Beyond the bounds on length, depth or size."""

    code = "too_large"


def nearest_names(name: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """The known names that are most like this one, best first, `most` at the most; capitals do not matter."""
    by_folded: dict[str, list[str]] = {}
    for known_name in known:
        by_folded.setdefault(known_name.casefold(), []).append(known_name)
    matches = get_close_matches(name.casefold(), list(by_folded), n=most, cutoff=0.6)
    return tuple(known_name for folded in matches for known_name in sorted(by_folded[folded]))[:most]


def _underlined(line: str, start: int, at: Span) -> tuple[str, str]:
    """The part of a line around a place, and the carets that stand under the place in a terminal."""
    line = "".join(
        char if char == "\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line.rstrip("\r")
    )
    end = max(start + 1, min(start + at.end - at.start, len(line)))
    low, high = max(0, start - _CONTEXT_CHARACTERS), min(len(line), start + _CONTEXT_CHARACTERS)
    before, after = "…" if low else "", "…" if high < len(line) else ""
    blank = "".join("\t" if char == "\t" else " " * _cells(char) for char in line[low:start])
    carets = "^" * sum(max(1, _cells(char)) for char in line[start : min(end, high)].ljust(1))
    return f"{before}{line[low:high]}{after}", f"{' ' * len(before)}{blank}{carets}"


def _cells(char: str) -> int:
    """How many cells of a terminal a character takes."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
