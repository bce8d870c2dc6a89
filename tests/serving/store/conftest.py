"""The clock of the store's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clocks import last_receipt_is_the_clock


@pytest.fixture(scope="module")
def clock() -> Iterator[None]:
    """The tests put the clock forward by the last receipt."""
    with last_receipt_is_the_clock():
        yield
