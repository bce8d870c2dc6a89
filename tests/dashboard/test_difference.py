"""The difference that people look at before a save, and after somebody else's."""

from __future__ import annotations

from dashboard.definitions.difference import difference


def test_numbers_differ_by_value_alone() -> None:
    """100.0, as the API answers, is the 100 of a form, at any depth; a number is no boolean, and no text."""
    before = {"rollout": 100.0, "variants": [{"name": "blue", "weight": 1.0, "value": {"limits": [2.0, 0.5]}}]}
    after = {"rollout": 100, "variants": [{"name": "blue", "weight": 1, "value": {"limits": [2, 0.5]}}]}

    assert difference(before, after) == ""
    assert difference({"rollout": 100.0}, {"rollout": 99.5}) == "-rollout: 100\n+rollout: 99.5"
    assert difference({"default": 1.0}, {"default": True}) == "-default: 1\n+default: true"
    assert difference({"value": 1e300}, {"value": 1e300}) == ""
    assert difference({"value": [1]}, {"value": ["1"]}) != ""
