"""JSON that clients send and people type, and numbers that they read."""

from __future__ import annotations

import pytest

from dashboard.values import LEVELS_MAX, read_json, share_text


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


@pytest.mark.parametrize(
    ("count", "total", "text"),
    [(0, 8, "0.0%"), (1, 23_571, "< 0.1%"), (1, 8, "12.5%"), (23_570, 23_571, "> 99.9%"), (8, 8, "100.0%")],
)
def test_a_few_of_many_are_not_nobody(count: int, total: int, text: str) -> None:
    """And all but a few are not everybody."""
    assert share_text(count / total) == text
