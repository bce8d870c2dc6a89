"""What differs between two definitions, line by line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

#: Fields that a person does not write.
KEPT_BY_THE_SYSTEM = (
    *("id", "key", "version", "author", "created_at", "updated_at", "warnings", "history"),
    *("used_by", "size", "type", "last_change", "intervals"),
)

#: From here on not every whole number is a float.
WHOLE_END = 2**53


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A unified difference of the fields that people write; empty where there is none."""
    lines = difflib.unified_diff(_lines(before), _lines(after), "before", "after", lineterm="", n=2)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the second that differ from the first."""
    return {name: value for name, value in after.items() if before.get(name) != value}


def _lines(fields: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for name, value in fields.items():
        if name in KEPT_BY_THE_SYSTEM or value in (None, "", [], {}):
            continue
        text = value if isinstance(value, str) else json.dumps(_by_value(value), indent=2, ensure_ascii=False)
        first, *others = text.split("\n")
        lines += [f"{name}: {first}", *(f"  {line}" for line in others)]
    return lines


def _by_value(value: Any) -> Any:
    """A value in which equal numbers are written alike: 100.0, as the API answers, as the 100 of a form."""
    if isinstance(value, dict):
        return {name: _by_value(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_by_value(part) for part in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < WHOLE_END
    return int(value) if is_whole else value
