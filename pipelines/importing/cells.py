"""Values of a file as values of an event: what a cell of text says, and types that JSON does not have.

Absent are an empty cell, a null and a NaN. JSON has no NaN, and the API refuses one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from serving.refusals import Invalid, value_for_message

#: A cell of text that is a number. Digits behind a zero are no number: 007 is an id.
NUMBER = r"^[+-]?(?:(?:0|[1-9][0-9]*)?\.[0-9]+|0|[1-9][0-9]*)(?:[eE][+-]?[0-9]{1,3})?$"
_NUMBER = re.compile(NUMBER.removesuffix("$") + r"\Z")
#: A cell that `--number` takes.
FORCED_NUMBER = r"^[+-]?(?:[0-9]*\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$"
_FORCED_NUMBER = re.compile(FORCED_NUMBER.removesuffix("$") + r"\Z")
#: Cells that mean "absent".
NANS = ("NaN", "nan")

NUMBER_REMEDY = "write a number, or import the column by --text"


def cell_value(cell: str) -> Any:
    """What a cell of text says: a number, true or false, else text; None where it means "absent"."""
    if cell in ("true", "false"):
        return cell == "true"
    if cell == "" or cell in NANS:
        return None
    number = cell_number(cell) if _NUMBER.match(cell) else None
    return cell if number is None else number


def cell_number(cell: str) -> float | int | None:
    """The number of a cell that is one; None where it is not finite."""
    is_whole = len(cell) < 19 and cell.lstrip("+-").isdigit()
    number = int(cell) if is_whole else float(cell)
    return number if math.isfinite(number) else None


def forced_number(value: Any, name: str) -> float | int | None:
    """The number that a value of a `--number` column is; None where it is absent. Raises `Invalid`."""
    if isinstance(value, str):
        text = value.strip()
        if text == "" or text in NANS:
            return None
        number = cell_number(text) if _FORCED_NUMBER.match(text) else None
        if number is not None:
            return number
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    shown = value_for_message(value)
    raise Invalid(
        f"{name}: {shown} is no number; {NUMBER_REMEDY}", {"field": name, "value": shown, "remedy": NUMBER_REMEDY}
    )


def forced_text(value: Any) -> str:
    """A value of a `--text` column as text: digits stay as they are."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def whole_digits(raw: Any) -> str | None:
    """The digits of a value of a file that is a whole number; None for any other."""
    match raw:
        case str() if raw.strip().lstrip("+-").isdigit():
            return raw.strip()
        case int() if not isinstance(raw, bool):
            return str(raw)
        case Decimal() if raw.is_finite() and raw.as_tuple().exponent >= 0:  # type: ignore[operator]
            return str(int(raw))
    return None


def is_absent(value: Any) -> bool:
    """Whether a value is none: a null, an empty text, or a NaN."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def plain(value: Any) -> Any:
    """A value as JSON has it: times as ISO text, durations as seconds, decimals as numbers, NaN as null.

    Raises `Invalid` for infinities.
    """
    match value:
        case datetime() | date():
            return value.isoformat()
        case float() if math.isnan(value):
            return None
        case float() if math.isinf(value):
            raise Invalid(
                f"{value} is no number that can be stored; leave the cell empty",
                {"field": "properties", "value": str(value), "remedy": "leave the cell empty"},
            )
        case Decimal() if not value.is_finite():
            return None
        case Decimal():
            return int(value) if value.as_tuple().exponent >= 0 else float(value)  # type: ignore[operator]
        case timedelta():
            return value.total_seconds()
        case bytes():
            return value.decode("utf-8", "replace")
        case Mapping():
            return {str(name): plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)
