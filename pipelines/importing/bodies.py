"""Rows of columns as events that an app sends: those that name devices, kinds, attributes, or properties in JSON.

    a row  →  the body that `POST /v1/batch` would take for it  →  `as_sent` makes the event of it

So a column of kinds means what `type` means in the API, and ids of one row belong together as they do live.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from pipelines.importing.made import Inexact
from pipelines.importing.row_values import id_text, note_inexact, other_values, own_time_ms, own_value, value_of
from pipelines.importing.terms import Terms
from serving.refusals import Invalid, value_for_message
from serving.times import rfc3339

_OBJECT_REMEDY = "write a JSON object, or leave the cell empty"


def body_of(
    line: int, row: dict[str, Any], terms: Terms, are_cells: bool, inexact: dict[str, Inexact]
) -> dict[str, Any]:
    """The body of a row. Raises `Invalid` with what is wrong with the row.

    An identify has attributes: the columns that are named so, else its values. A group has its `groupId` among them.
    The event of a page or a screen is its name.
    """
    columns = terms.columns
    event, id = own_value(row, columns.event, are_cells), own_value(row, columns.id, are_cells)
    kind = own_value(row, columns.kind, are_cells) if columns.kind else "track" if columns.event else "identify"
    body: dict[str, Any] = {
        "type": kind,
        "userId": id_text(own_value(row, columns.user, are_cells)),
        "anonymousId": id_text(own_value(row, columns.anonymous, are_cells)),
        "messageId": None if id is None else str(id),
        "timestamp": rfc3339(own_time_ms(row, terms, are_cells)),
    }
    if kind == "identify" and columns.attributes:
        named = {name: value_of(row[name], name, terms, are_cells) for name in columns.attributes if name in row}
        values = {name: value for name, value in named.items() if value is not None}
        note_inexact(inexact, line, values, row)
    elif columns.properties:
        values = _object(row.get(columns.properties), columns.properties, are_cells)
        note_inexact(inexact, line, values, values)
    else:
        values = other_values(row, terms, are_cells)
        note_inexact(inexact, line, values, row)
    match kind:
        case "identify":
            return body | {"traits": values}
        case "group":
            return body | {"groupId": values.pop("groupId", None), "traits": values}
        case "page" | "screen":
            return body | {"name": event, "properties": values}
    return body | {"event": event, "properties": values}


def _object(raw: Any, name: str, are_cells: bool) -> dict[str, Any]:
    """The object of a column of JSON; an empty one where the cell is empty. Raises `Invalid`."""
    value = own_value({name: raw}, name, are_cells)
    if isinstance(value, str):
        with suppress(msgspec.DecodeError, RecursionError):  # it stays a text, which is no object
            value = msgspec.json.decode(value)
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    shown = value_for_message(value)
    details = {"field": name, "value": shown, "remedy": _OBJECT_REMEDY}
    raise Invalid(f"{name}: {shown} is no JSON object; {_OBJECT_REMEDY}", details)
