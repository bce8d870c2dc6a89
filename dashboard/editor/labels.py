"""The words of the builder's widgets, and what they offer for each type of value."""

from __future__ import annotations

from dashboard.editor.forms import Comparison, Join, SubjectKind

JOINS: dict[Join, str] = {"all": "all of these", "any": "any of these", "none": "none of these"}
SUBJECTS: dict[SubjectKind, str] = {
    "event": "event",
    "any event": "any activity",
    "attribute": "attribute",
    "trait": "trait",
    "segment": "segment",
}
COMPARISONS: dict[Comparison, str] = {
    ">=": "at least",
    ">": "more than",
    "==": "is",
    "!=": "is not",
    "<=": "at most",
    "<": "less than",
    "in": "is one of",
    "not in": "is none of",
    "holds": "is true",
    "does not hold": "is not true",
    "is known": "has a value",
    "is not known": "has no value",
}
OF_TYPE: dict[str, tuple[Comparison, ...]] = {
    "number": (">=", ">", "==", "!=", "<=", "<", "in", "not in", "is known", "is not known"),
    "string": ("==", "!=", "in", "not in", ">=", ">", "<=", "<", "is known", "is not known"),
    "boolean": ("holds", "does not hold", "is known", "is not known"),
    "list": ("is known", "is not known"),
}
ALL_TIME = "all time"
WINDOWS = ("1h", "24h", "7d", "14d", "30d", "90d", "365d")
VALUE_TYPES = {"number": "number", "string": "text", "boolean": "true or false"}
