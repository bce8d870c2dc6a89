"""JSON that clients send and people type."""

from __future__ import annotations

import pytest

from dashboard.values import LEVELS_MAX, read_json


@pytest.mark.parametrize("levels", [LEVELS_MAX, 5_000])
@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
def test_what_is_nested_too_deeply_is_no_json(begin: str, end: str, levels: int) -> None:
    """It is refused as a text that is none, also where the reader of Python gives up by itself."""
    fits = begin * (LEVELS_MAX - 1) + "1" + end * (LEVELS_MAX - 1)
    assert read_json(fits) is not None

    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(begin * levels + "1" + end * levels)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_no_json(number: str) -> None:
    """Python reads them, and nobody can send them."""
    for text in (number, f'{{"a": [{number}]}}'):
        with pytest.raises(ValueError, match="not finite"):
            read_json(text)
