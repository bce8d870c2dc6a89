"""The cells of a file of members: what a spreadsheet would calculate is text."""

from __future__ import annotations

import polars as pl
import pytest

from serving.lookups.member_csv import csv_chunks


@pytest.mark.parametrize("sign", [*"=+-@\t\r\n\ufeff\uff1d\uff0b\uff0d\uff20"])
def test_no_cell_begins_a_formula(sign: str) -> None:
    """Signs, their full-width twins, and what programs skip before them, get an apostrophe before the cell."""
    columns = {"id": "user:", "device_id": "", "external_id": "", "email_hash": ""}
    member = {name: f"{kind}{sign}1+1" for name, kind in columns.items()}
    times = dict.fromkeys(("created_at", "since", "updated_at"), 0)

    text = b"".join(csv_chunks([pl.DataFrame([member | times])])).decode()

    assert text.count(f'"\'{sign}1+1"') == len(columns)
