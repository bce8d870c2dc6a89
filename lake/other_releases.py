"""Tables that another release of TinyCDP made: an older table gets the columns that it lacks, and a newer table keeps
the columns that we do not know.

A release may add columns and properties to a table, and changes nothing else of it. So two releases can work on one
lake, as they do during an update.
"""

from __future__ import annotations

import pyarrow as pa
from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError

from .schemas import Table


def updated(opened: DeltaTable, table: Table) -> DeltaTable:
    """The table with all our columns and properties. Columns that it lacked are empty in its rows; a property that
    somebody has set stays.

    The first process of a release that opens the table commits this once; other writers' commits conflict with it.
    """
    present = {field.name for field in opened.schema().fields}
    columns = [field for field in Schema.from_arrow(table.columns).fields if field.name not in present]
    set_before = opened.metadata().configuration
    properties = {name: value for name, value in table.configuration().items() if name not in set_before}
    try:
        if columns:
            opened.alter.add_columns(columns)
        if properties:
            opened.alter.set_table_properties(properties)
    except CommitFailedError:
        opened.update_incremental()
        return updated(opened, table)  # another process was first, and may have done the same
    return opened


def all_columns(opened: DeltaTable, table: Table) -> pa.Schema:
    """Our columns, then those of a newer release, which we do not know and keep."""
    stored = pa.schema(opened.schema().to_arrow())
    return pa.schema([*table.columns, *[field for field in stored if field.name not in table.columns.names]])


def widened(rows: pa.Table, opened: DeltaTable) -> pa.Table:
    """Rows of ours with the columns of a newer release, empty."""
    if len(opened.schema().fields) == rows.num_columns:
        return rows
    for field in pa.schema(opened.schema().to_arrow()):
        if field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows
