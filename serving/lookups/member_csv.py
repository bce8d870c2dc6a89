"""Members of a segment as CSV text: a bare header, every cell of a row quoted, no line end after the last row.

Ids come from whoever calls the API. A cell that a spreadsheet would calculate gets an apostrophe before it, which tells
spreadsheets that it is text (OWASP's advice for CSV).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from serving.ids import ID_KINDS

COLUMNS = ("user_id", "created_at", "in_segment", "since", "updated_at", "device_id", "external_id", "email_hash")
#: Characters that begin a formula in a spreadsheet: the signs, their full-width twins, and what some programs skip
#: before one (a tab, ends of lines, a byte order mark).
FORMULA = r"^[=+\-@\t\r\n\x{feff}\x{ff1d}\x{ff0b}\x{ff0d}\x{ff20}]"


def csv_chunks(parts: Iterable[pl.DataFrame]) -> Iterator[bytes]:
    """The text of a file, some bytes at a time.

    The frames have the columns id, created_at, since, updated_at (UTC ms), device_id, external_id and email_hash.
    """
    yield ",".join(COLUMNS).encode()
    for part in parts:
        if len(part):
            text = _cells(part).write_csv(include_header=False, quote_style="always", line_terminator="\n")
            yield b"\n" + text.encode()[:-1]


def _cells(members: pl.DataFrame) -> pl.DataFrame:
    kinds = "|".join(ID_KINDS)
    own = pl.col("id").str.strip_prefix("user:")
    # A user whose id reads like another kind's keeps its prefix: the API finds it by that.
    user_id = pl.when(own.str.contains(f"^(?:{kinds}):")).then("id").otherwise(own)
    return members.select(
        _safe(user_id).alias("user_id"),
        _instant("created_at"),
        pl.lit("true").alias("in_segment"),
        _instant("since"),
        _instant("updated_at"),
        *[_safe(pl.col(name)).alias(name) for name in ("device_id", "external_id", "email_hash")],
    )


def _safe(cell: pl.Expr) -> pl.Expr:
    return pl.when(cell.str.contains(FORMULA)).then(pl.concat_str(pl.lit("'"), cell)).otherwise(cell)


def _instant(name: str) -> pl.Expr:
    return pl.from_epoch(name, time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").alias(name)
