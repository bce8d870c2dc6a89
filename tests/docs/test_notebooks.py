"""The notebooks of `examples`: each runs from top to bottom, and says the same as the text beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import jupytext
import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
#: Runs a notebook into another file, by a kernel that opens no port.
EXECUTE = """
import sys
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

source, executed, sockets, runs = sys.argv[1:]
for run in range(int(runs)):
    notebook = nbformat.read(source, as_version=4)
    NotebookClient(notebook, km=AsyncKernelManager(transport="ipc", ip=f"{sockets}{run}"), timeout=200).execute()
nbformat.write(notebook, executed)
"""
#: How often a notebook is run: one that saves definitions finds them there the second time.
RUNS = {"ship_a_trait": 2}
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


@pytest.mark.deep
@pytest.mark.xdist_group("notebooks")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs(name: str, demo_environment: dict[str, str], tmp_path: Path) -> None:
    """No cell fails, so all that it asserts is so, also run again; what it shows needs no other host."""
    executed = tmp_path / f"{name}.ipynb"
    # The kernel's sockets are files, whose paths may have 107 characters: pytest's own folders are too deep.
    with TemporaryDirectory() as runtime:
        own = {"IPYTHONDIR": str(tmp_path), "JUPYTER_RUNTIME_DIR": runtime, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [
                *(sys.executable, "-c", EXECUTE, str(NOTEBOOKS / executed.name), str(executed)),
                *(f"{runtime}/kernel", str(RUNS.get(name, 1))),
            ],
            env={**os.environ, **demo_environment, **own},
            cwd=NOTEBOOKS,
            capture_output=True,
            text=True,
            timeout=280,
        )
    assert done.returncode == 0, done.stderr[-3000:]

    notebook = nbformat.read(executed, as_version=4)
    shown = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("image/svg+xml" in data for data in shown)
    assert not any("<script" in text for data in shown for text in data.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_and_its_text_are_in_step(name: str) -> None:
    """Cell by cell: the text is what people read in a diff."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    text = jupytext.read(NOTEBOOKS / f"{name}.py")

    def cells(of: nbformat.NotebookNode) -> list[tuple[str, str]]:
        return [(cell.cell_type, cell.source) for cell in of.cells]

    assert cells(notebook) == cells(text)
    assert notebook.metadata.jupytext.formats == text.metadata.jupytext.formats == "ipynb,py:percent"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_no_outputs(name: str) -> None:
    """They would show somebody's data, and change with each run."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_every_notebook_has_a_text() -> None:
    """And every text a notebook."""
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.py")) == NAMES
    assert len(NAMES) == 4
