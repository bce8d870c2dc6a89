"""Patterns of `matches`: a small regular language, and the text by which every engine reads a pattern alike.

Engines differ in what `\\d`, `.`, `$`, case and Unicode mean, and some take patterns that can run for years. So a
pattern is read here. It is refused where engines would differ or run long. What passes is written again:

    literals      any character; a backslash makes the next one literal if it is no letter or digit
    classes       [a-z], [^…]; `\\d \\w \\s` and, outside of [ ], `\\D \\W \\S`: those of ASCII; `.`: no line feed
    places        ^ and $: the begin and the end of the whole text
    groups        ( ), (?: ), |
    repetition    * + ? {n} {n,} {n,m}, lazy or not, which makes no difference to whether a text matches
    (?i)          at the begin: A to Z as a to z; other letters stay

The result escapes nothing but marks, and has no flags and only plain groups. So RE2 (read time, DuckDB, BigQuery),
Rust's regex (Polars) and Snowflake agree on it. All but Snowflake match in linear time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

PATTERN_CHARACTERS_MAX = 500
#: The most that a part may repeat by a number, multiplied with all repetitions around it.
REPEATS_MAX = 200
#: The most parts of a pattern. A part counts as often as it may be repeated by a number.
PARTS_MAX = 2_000
#: The most groups in each other.
GROUPS_MAX = 50

_MARKS = frozenset("\\^$.|?*+()[]{}")
_IN_CLASS = frozenset("\\^[]-&~")
_CLASSES = {"d": "0-9", "w": "0-9A-Za-z_", "s": "\t\n\v\f\r "}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v"}
_A_TO_Z = (ord("A"), ord("Z"))


class PatternRefused(ValueError):
    """A pattern on which engines would not agree: what is wrong, the character's place (from 0), and the remedy."""

    def __init__(self, message: str, place: int, remedy: str) -> None:
        self.place, self.remedy = place, remedy
        super().__init__(f"{message} at character {place + 1} of the pattern")


@lru_cache(maxsize=2_048)
def portable(pattern: str) -> str:
    """The pattern in the form that every engine reads alike. Raises `PatternRefused`."""
    return _Reader(pattern).whole()


@lru_cache(maxsize=2_048)
def searcher(pattern: str) -> Any:
    """RE2's compiled pattern: `.search(text)` is not None where the pattern is found anywhere in the text."""
    return re2.compile(portable(pattern))


class _Reader:
    """Reads a pattern, one thing a method.

    `alternatives`, `sequence`, `repeated`, `atom` and `group` give three things: the text for engines, the number of
    parts, and the most that anything in it repeats by a number.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > PATTERN_CHARACTERS_MAX:
            raise PatternRefused(
                f"more than {PATTERN_CHARACTERS_MAX} characters", PATTERN_CHARACTERS_MAX, "a shorter one"
            )
        self.pattern = pattern
        self.ignores_case = pattern.startswith("(?i)")
        self.at = 4 if self.ignores_case else 0
        self.depth = 0

    def whole(self) -> str:
        written, _, _ = self.alternatives()
        if self.at < len(self.pattern):
            raise self.refused("a ) that closes nothing", "\\) for the character")
        return written

    def refused(self, message: str, remedy: str, at: int | None = None) -> PatternRefused:
        return PatternRefused(message, self.at if at is None else at, remedy)

    def next(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def alternatives(self) -> tuple[str, int, int]:
        branches, parts, repeats = [], 0, 1
        while True:
            written, size, times = self.sequence()
            branches.append(written)
            parts, repeats = parts + size, max(repeats, times)
            if self.next() != "|":
                return "|".join(branches), parts, repeats
            self.at += 1

    def sequence(self) -> tuple[str, int, int]:
        pieces, parts, repeats = [], 0, 1
        while self.next() not in ("", "|", ")"):
            written, size, times = self.repeated()
            pieces.append(written)
            parts, repeats = parts + size, max(repeats, times)
            if parts > PARTS_MAX:
                raise self.refused(f"more than {PARTS_MAX} parts, with repetitions counted", "a smaller pattern")
        return "".join(pieces), parts, repeats

    def repeated(self) -> tuple[str, int, int]:
        start = self.at
        written, parts, repeats = self.atom()
        mark = self.next()
        if mark not in ("*", "+", "?", "{") or mark == "":
            return written, parts, repeats
        if self.pattern[start] in "^$":
            raise self.refused("a repeated place", "a repetition behind a character, a class or a group")
        times = 1
        if mark == "{":
            mark, times = self.counts()
        else:
            self.at += 1
        if repeats * times > REPEATS_MAX:
            raise self.refused(f"more than {REPEATS_MAX} repetitions, one in another multiplied", "fewer, or *", start)
        if parts * times > PARTS_MAX:
            raise self.refused(f"more than {PARTS_MAX} parts, with repetitions counted", "a smaller pattern", start)
        if self.next() == "?":
            self.at += 1  # lazy
        if self.next() in ("*", "+", "?", "{") and self.next():
            raise self.refused("a repetition of a repetition", "a group around the first")
        return written + mark, parts * times, repeats * times

    def counts(self) -> tuple[str, int]:
        """{n}, {n,} or {n,m} as text for engines, and the greater number, at least 1."""
        end = self.pattern.find("}", self.at)
        low, comma, high = self.pattern[self.at + 1 : max(end, 0)].partition(",")
        numbers = [digits for digits in (low, high) if digits]
        if end < 0 or not low or not all(map(_is_count, numbers)):
            raise self.refused("a { that counts nothing", "{n}, {n,} or {n,m}, or \\{ for the character")
        if high and int(high) < int(low):
            raise self.refused("a range that ends before it begins", "{n,m} with n not above m")
        self.at = end + 1
        upper = f",{int(high) if high else ''}" if comma else ""
        return f"{{{int(low)}{upper}}}", max(1, *map(int, numbers))

    def atom(self) -> tuple[str, int, int]:
        char, start = self.next(), self.at
        if char == "(":
            return self.group()
        self.at += 1
        match char:
            case "[":
                return self.set(start), 1, 1
            case ".":
                return "[^\n]", 1, 1
            case "^" | "$":
                return char, 1, 1
            case "*" | "+" | "?" | "{":
                raise self.refused(f"a {char} that repeats nothing", f"\\{char} for the character", start)
            case "\\":
                letter = self.escaped()
                if letter.lower() in _CLASSES:
                    return f"[{'^' if letter.isupper() else ''}{_CLASSES[letter.lower()]}]", 1, 1
                return self.literal(_CONTROLS.get(letter, letter)), 1, 1
        return self.literal(char), 1, 1

    def escaped(self) -> str:
        """The character behind a backslash. Raises for one that engines read differently, or not in linear time."""
        char = self.next()
        self.at += 1
        if char == "":
            raise self.refused("a backslash with nothing behind it", "two for the character", self.at - 2)
        if char.isascii() and char.isdigit():
            raise self.refused(
                "a reference to a group", "a pattern without one, since it could take forever", self.at - 2
            )
        if char.isalnum() and char.lower() not in _CLASSES and char not in _CONTROLS:
            raise self.refused(f"\\{char}", "classes in [ ]; \\d \\w \\s \\t \\n are known", self.at - 2)
        return char

    def literal(self, char: str) -> str:
        if self.ignores_case and char.isascii() and char.isalpha():
            return f"[{char.upper()}{char.lower()}]"
        return f"\\{char}" if char in _MARKS else char

    def group(self) -> tuple[str, int, int]:
        start = self.at
        self.at += 1
        if self.next() == "?":
            if self.pattern[self.at : self.at + 2] != "?:":
                remedy = "(?i) stands at the begin alone" if self.pattern.startswith("(?i", start) else "plain groups"
                raise self.refused("a group that looks around, has a name or sets flags", remedy, start)
            self.at += 2
        self.depth += 1
        if self.depth > GROUPS_MAX:
            raise self.refused(f"more than {GROUPS_MAX} groups in each other", "fewer", start)
        written, parts, repeats = self.alternatives()
        self.depth -= 1
        if self.next() != ")":
            raise self.refused("a ( that nothing closes", "\\( for the character", start)
        self.at += 1
        return f"({written})", parts + 1, repeats

    def set(self, start: int) -> str:
        """A class in brackets as text for engines. Its [ is passed already."""
        negated = self.next() == "^"
        self.at += negated
        ranges = ""
        while self.next() != "]":
            if self.next() == "":
                raise self.refused("a [ that nothing closes", "\\[ for the character", start)
            low = self.member()
            if len(low) > 1:
                ranges += low
                continue
            high = low
            if self.next() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                high = self.member()
                if len(high) > 1 or high < low:
                    raise self.refused("a range that has no end after its begin", "a-z; \\- for the character")
            ranges += self.range(ord(low), ord(high))
        if not ranges:
            raise self.refused("a class of nothing", "\\] for the character", start)
        self.at += 1
        return f"[{'^' if negated else ''}{ranges}]"

    def member(self) -> str:
        """A character of a class, or the ranges that an escape stands for."""
        char, start = self.next(), self.at
        self.at += 1
        if char == "[":
            raise self.refused("a [ inside [ ]", "\\[ for the character", start)
        if char != "\\":
            return char
        letter = self.escaped()
        if letter in "DWS":
            raise self.refused(f"\\{letter} inside [ ]", "a class of its own beside it, with |", start)
        return _CLASSES.get(letter, _CONTROLS.get(letter, letter))

    def range(self, low: int, high: int) -> str:
        """The characters from low to high as text for a class, in both cases if case is ignored."""
        ranges = _range(low, high)
        if self.ignores_case:
            for offset, (first, last) in ((32, _A_TO_Z), (-32, (_A_TO_Z[0] + 32, _A_TO_Z[1] + 32))):
                begin, end = max(low, first), min(high, last)
                if begin <= end:
                    ranges += _range(begin + offset, end + offset)
        return ranges


def _is_count(digits: str) -> bool:
    """Whether a text is a number of at most four digits."""
    return digits.isascii() and digits.isdigit() and len(digits) < 5


def _range(low: int, high: int) -> str:
    first, last = (f"\\{char}" if char in _IN_CLASS else char for char in map(chr, (low, high)))
    return first if low == high else f"{first}-{last}"
