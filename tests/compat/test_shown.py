"""The page on compatibility against the tests: each defect that it calls repaired is named by those who show it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Of the original's 41 defects those of its console, its SDK and its examples, which no server can show.
NOT_OURS = {28, 36, 38, 39}


def claimed() -> dict[int, list[Path]]:
    """By defect the tests that the page's table names: files, or folders of them."""
    page = (ROOT / "docs" / "compatibility.md").read_text()
    rows = re.findall(r"^\| D-(\d+) \|.*\|([^|]*)\|$", page, re.MULTILINE)
    return {int(number): [ROOT / place for place in re.findall(r"`(tests/[^`]*)`", where)] for number, where in rows}


def named(file: Path) -> Iterator[int]:
    """The defects that a file's tests name, in the name of one (`test_d05_…`) or in what it says of itself (`D-5`)."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from map(int, re.findall(r"^test_d(\d+)_", node.name))
            yield from map(int, re.findall(r"\bD-(\d+)\b", ast.get_docstring(node) or ""))


def test_every_defect_of_the_server_is_claimed_to_be_absent() -> None:
    """The page claims all 41 defects but those that no server can show."""
    assert claimed().keys() == set(range(1, 42)) - NOT_OURS


def test_every_claim_is_named_by_a_test() -> None:
    """A test in each file that the page names for a claim, or in one file of a folder, names the claim (D-41)."""
    lacking = []
    for number, places in claimed().items():
        of_tests = [place for place in places if place.suffix == ".py" or place.is_dir()]
        assert of_tests, f"D-{number} is claimed, and no test is given for it"
        for place in of_tests:
            files = [place] if place.suffix == ".py" else list(place.rglob("test_*.py"))
            if not any(number in named(file) for file in files):
                lacking.append(f"D-{number}: {place.relative_to(ROOT)}")

    assert lacking == []
