"""Values as words that people type in the builder, and back."""

from __future__ import annotations

from typing import Any

from dashboard.editor.forms import Scalar


def type_of(value: Any) -> str | None:
    """The type of a value: boolean, number or string; None of what has no word."""
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
    return None


def word_of(value: Scalar) -> str:
    """A value as it stands in a list of values."""
    match value:
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return str(int(value))
    return str(value)


def value_of(word: str, type_: str) -> Scalar:
    """The value of a word; None for a word that is none of this type."""
    match type_:
        case "boolean":
            return {"true": True, "false": False}.get(word)
        case "number":
            try:
                return float(word)
            except ValueError:
                return None
    return word
