"""The values of a row: those that are its own (who, what, when), its properties, and which of these are inexact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expressions.rules.values import GAPS_FROM
from pipelines.importing.cells import NANS, cell_value, forced_number, forced_text, is_absent, plain, whole_digits
from pipelines.importing.made import Inexact, merge_inexact
from pipelines.importing.terms import Terms
from pipelines.importing.times import time_ms
from serving.refusals import Invalid


def own_value(row: Mapping[str, Any], name: str | None, are_cells: bool) -> Any:
    """The value of a column that is no property; None where it is absent."""
    value = row.get(name) if name else None
    if is_absent(value) or (are_cells and value in NANS):
        return None
    return plain(value)


def own_time_ms(row: Mapping[str, Any], terms: Terms, are_cells: bool) -> int:
    """When the row happened, UTC ms. Raises `Invalid`."""
    name = terms.columns.time
    value = row.get(name)
    if is_absent(value) or (are_cells and value in NANS):
        remedy = "give the time of each row"
        raise Invalid(f"{name}: there is no time", {"field": name, "remedy": remedy})
    return time_ms(value, name, terms.reading.time_unit)


def value_of(raw: Any, name: str, terms: Terms, are_cells: bool) -> Any:
    """The value of a column of properties; None where it is absent. Raises `Invalid`."""
    reading = terms.reading
    if are_cells:
        value = raw if name in reading.text or name in reading.number else cell_value(raw)
    else:
        value = plain(raw)
    if is_absent(value):
        return None
    if name in reading.text:
        return forced_text(value)
    return forced_number(value, name) if name in reading.number else value


def other_values(row: Mapping[str, Any], terms: Terms, are_cells: bool) -> dict[str, Any]:
    """The values of all columns that are not the row's own, without those that are absent. Raises `Invalid`."""
    own = terms.columns.own
    values = {name: value_of(raw, name, terms, are_cells) for name, raw in row.items() if name not in own}
    return {name: value for name, value in values.items() if value is not None}


def note_inexact(into: dict[str, Inexact], line: int, values: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Notes the whole numbers of a row that no float holds. `row` has them as the file does."""
    for name, value in values.items():
        if type(value) in (int, float) and abs(value) >= GAPS_FROM:
            digits = whole_digits(row.get(name))
            if digits is not None:
                merge_inexact(into, {name: Inexact(1, line, digits)})


def id_text(value: Any) -> Any:
    """An id as text: a whole number without a fraction, since some files hold 7 as 7.0."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value
