"""Values of traits and properties as text."""

from __future__ import annotations

import json
import math
from typing import Any

#: Levels of JSON that are read: an event that is taken has fewer, and a browser draws no thousand of them.
LEVELS_MAX = 100


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


def share_text(share: float) -> str:
    """A share, of 0 to 1, in percent. A few of very many are not nobody, and all but a few are not everybody."""
    if 0 < share < 0.0005:
        return "< 0.1%"
    if 0.9995 <= share < 1:
        return "> 99.9%"
    return f"{share:.1%}"


def bytes_text(size: float) -> str:
    """A size as `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def read_json(text: str) -> Any:
    """What a JSON text says. Raises `ValueError` for a text that is none, or that has more than `LEVELS_MAX` levels."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    inside = [value]
    for _ in range(LEVELS_MAX):
        if any(isinstance(one, float) and not math.isfinite(one) for one in inside):
            raise ValueError("a number of it is not finite")
        inside = [part for one in inside for part in _parts(one)]
        if not inside:
            return value
    raise ValueError("it is nested too deeply")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
