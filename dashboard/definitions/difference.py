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
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        first, *others = text.split("\n")
        lines += [f"{name}: {first}", *(f"  {line}" for line in others)]
    return lines
