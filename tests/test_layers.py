"""What the import contract in pyproject.toml cannot see: folders of Python that it does not name."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
PRODUCT = set(CONTRACT["root_packages"])
#: Programs about the product. They may import all of it, and none of it imports them.
BESIDE = {"tests", "benchmarks", "examples", "sdk"}
#: What tools leave behind.
BUILT = {"build", "dist", "node_modules"}


def imported_packages(source: str) -> set[str]:
    """The top-level names that a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_every_folder_of_python_has_its_place() -> None:
    """A new one is under the contract, or beside the product: else nothing says what it may import."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}

    assert {name for name in folders - BESIDE - BUILT if any((ROOT / name).rglob("*.py"))} == PRODUCT


def test_the_product_imports_nothing_that_stands_beside_it() -> None:
    """The product needs no test, benchmark or example."""
    sources = [path for name in sorted(PRODUCT) for path in sorted((ROOT / name).rglob("*.py"))]

    reaching_out = {str(path): found for path in sources if (found := imported_packages(path.read_text()) & BESIDE)}

    assert len(sources) > len(PRODUCT)
    assert reaching_out == {}


def test_the_language_and_the_lake_can_be_carried_elsewhere_whole(tmp_path: Path) -> None:
    """Each imports its own files relatively, so a copy under another name answers, with nothing of ours on the path."""
    carried = tmp_path / "carried"
    carried.mkdir()
    (carried / "__init__.py").touch()
    for name in ("expressions", "lake"):
        shutil.copytree(ROOT / name, carried / name, ignore=shutil.ignore_patterns("__pycache__"))
    modules = sorted(
        ".".join(path.relative_to(tmp_path).with_suffix("").parts)
        for path in carried.rglob("*.py")
        if path.name != "__init__.py"
    )
    program = f"""
import importlib, sys
sys.path = [part for part in sys.path if part != {str(ROOT)!r}]
for name in {modules!r}:
    importlib.import_module(name)
print(sorted({{"expressions", "lake"}} & set(sys.modules)))
"""

    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_who_opens_the_lake_imports_no_pandas() -> None:
    """It comes with the console's libraries. To import it takes each process a third of a second and 40 MB, and nothing
    here asks for it: a module of pyarrow does, which is imported where it is used."""
    program = "import sys, serving.history; print('pandas' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=110)

    assert (done.stdout.strip(), done.stderr) == ("False", "")
