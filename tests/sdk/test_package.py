"""What people install: the client by itself, with one dependency, and nothing of the engine."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import tinycdp

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "python"
PROJECT = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]
#: Modules that need an extra, and what it brings.
EXTRAS = {"openfeature_provider.py": {"openfeature"}, "pytest_plugin.py": {"pytest"}}


def imported_packages(path: Path) -> set[str]:
    """The top-level names that a module imports from elsewhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_the_client_brings_one_package_and_imports_no_other() -> None:
    """`pip install ./sdk/python` brings httpx2 alone; each module imports that, Python's own, or its extra's."""
    allowed = set(sys.stdlib_module_names) | {"httpx2"}

    reaching_out = {
        path.name: found
        for path in sorted((SDK / "src" / "tinycdp").glob("*.py"))
        if (found := imported_packages(path) - allowed - EXTRAS.get(path.name, set()))
    }

    assert reaching_out == {}
    assert [dependency.split(">")[0] for dependency in PROJECT["dependencies"]] == ["httpx2"]


def test_only_command_line_and_console_use_the_client() -> None:
    """The engine answers clients; it is none."""
    engine = (path for name in ("expressions", "lake", "serving", "pipelines") for path in (ROOT / name).rglob("*.py"))

    assert [str(path) for path in engine if "tinycdp" in imported_packages(path)] == []


def test_all_that_is_public_is_there_and_in_order() -> None:
    """`__all__` is what the package exports, sorted, and the release is the project's."""
    assert sorted(tinycdp.__all__) == tinycdp.__all__
    assert all(hasattr(tinycdp, name) for name in tinycdp.__all__)
