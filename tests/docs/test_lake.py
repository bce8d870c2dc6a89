"""The page on the lake: its snippets run, in their order, on the lake that the demo leaves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo import Demo

PAGE = (Path(__file__).parents[2] / "docs" / "lake.md").read_text()


@pytest.mark.deep
@pytest.mark.xdist_group("demo")
@pytest.mark.timeout(300)
def test_the_snippets_run(demo: Demo, tmp_path: Path) -> None:
    """Each runs after those before it."""
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "snippets.py"
    program.write_text("\n".join(snippets) + '\nprint("all ran")\n')

    done = subprocess.run(
        [sys.executable, str(program)],
        env={**os.environ, "TINYCDP_LAKE_URI": demo.stack.lake_uri},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )

    assert len(snippets) > 6
    assert (done.returncode, done.stdout.endswith("all ran\n")) == (0, True), done.stderr
