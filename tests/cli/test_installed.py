"""The command line finds the Python client, which it asks the API by, or says what to do."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: `tinycdp` as it is where the Python client is not installed.
WITHOUT = "import sys; sys.modules['tinycdp'] = None; import cli.main; cli.main.main()"


@pytest.mark.parametrize("command", ["up", "doctor", "demo"])
def test_without_the_client_the_remedy_is_one_line(command: str, tmp_path: Path) -> None:
    """A command that needs it ends with 3, the sentence and no trace."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, command],
        env={"TINYCDP_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert " ".join(done.stderr.split()) == (
        "the Python client is not installed: run `make install`, or `pip install ./sdk/python`"
    )


def test_an_editable_install_alone_has_the_client() -> None:
    """`pip install -e .` puts its source on the path, and brings what it needs, of the same releases."""
    engine, client = (
        tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (ROOT, ROOT / "sdk" / "python")
    )

    assert (ROOT / engine["tool"]["hatch"]["build"]["dev-mode-dirs"][1] / "tinycdp" / "__init__.py").exists()
    assert set(client["project"]["dependencies"]) <= set(engine["project"]["dependencies"])
