"""`tinycdp sql`: a definition as one SELECT."""

from __future__ import annotations

from typing import Any

from cli.definition_keys import definition_key
from expressions.sql.to_sql import to_sql
from serving.definitions.saving import current
from serving.store.store import Store


def sql_of(store: Store, text: str, dialect: str, at_ms: int | None, table: str) -> dict[str, Any]:
    """A definition as `sql` over a table, and its kind and key.

    Raises `NotFound`, and `ValueError` for an unknown dialect and for what is no table's name.
    """
    catalogue = current(store)
    kind, key = definition_key(catalogue, text)
    sql = to_sql(catalogue.bounds[kind, key], dialect, at_ms, catalogue.zone, table)
    return {"kind": kind, "key": key, "dialect": dialect, "at": at_ms, "table": table, "sql": sql}
