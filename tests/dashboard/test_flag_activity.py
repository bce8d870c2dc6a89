"""What the console says of how a flag is used."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.flags.activity import stale_text


@pytest.mark.parametrize(("in_bulk", "is_one_to_delete"), [(0, True), (7, False)])
def test_a_flag_that_pages_ask_for_in_bulk_is_not_told_to_be_useless(in_bulk: int, is_one_to_delete: bool) -> None:
    """They name none: whether one of them uses it nobody knows."""
    found: Any = {"inBulk": in_bulk}

    assert ("it may be one to delete" in stale_text(found, 30)) == is_one_to_delete
    assert ("before you delete it" in stale_text(found, 30)) != is_one_to_delete
