"""Values of traits and properties as text."""

from __future__ import annotations

import json
from typing import Any


def value_text(value: Any) -> str:
    """A value as JSON has it, a text without its quotes, and a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def count_text(number: float | None) -> str:
    """A number with thousands apart, and a dash for none."""
    return "–" if number is None else f"{number:,.0f}"


def bytes_text(size: float) -> str:
    """A size as `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
