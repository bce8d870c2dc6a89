"""Tests that only a deeper run takes: which are left, which are taken all the same, and what a run says of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deep_tests import VARIABLE

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

def test_ordinary(): pass

@pytest.mark.deep
def test_deep(): pass

@pytest.mark.deep(kept=2)
@pytest.mark.parametrize("case", "abcde")
def test_dear(case): pass
"""


@pytest.mark.parametrize(
    ("arguments", "asked", "counts", "says"),
    [
        ([], "", "3 passed, 4 deselected", True),
        (["-p", "xdist", "--numprocesses=1"], "", "3 passed", True),
        (["test_some.py::test_dear"], "", "5 passed", False),
        ([], "1", "7 passed", False),
    ],
    ids=["ordinary", "in another process", "named", "the deeper run"],
)
def test_deep_tests_are_left_unless_somebody_asks(
    tmp_path: Path, arguments: list[str], asked: str, counts: str, says: bool
) -> None:
    """By the variable for all, or by the name of their file. A run that left some says how many, and the remedy."""
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text("from tests.deep_tests import *\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = deep: as in the tests of TinyCDP\n")

    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", VARIABLE: asked},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert counts in done.stdout.splitlines()[-1]
    assert (f"4 deep tests were left: {VARIABLE}=1 make test" in done.stdout) is says
