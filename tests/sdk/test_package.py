"""What people install: the client by itself, with one dependency, and the engine by one door."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import tinycdp

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "python"
PROJECT = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]
ENGINE = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Modules that need an extra, and what it brings. One alone names the engine's packages: the build rewrites it.
EXTRAS = {
    "openfeature_provider.py": {"openfeature"},
    "pytest_plugin.py": {"pytest"},
    "_engine/__init__.py": {"expressions", "lake"},
    "_lake/answers.py": {"polars", "duckdb"},
    "_lake/client.py": {"polars"},
    "_lake/definitions.py": {"polars"},
    "_lake/labels.py": {"polars", "pyarrow"},
    "_lake/large_groups.py": {"polars"},
    "_lake/reading.py": {"polars", "deltalake"},
    "_lake/segment.py": {"polars"},
    "_lake/times.py": {"polars"},
}
#: Distributions whose package has another name.
PACKAGES = {"google-re2": "re2"}


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
    source = SDK / "src" / "tinycdp"

    reaching_out = {
        name: found
        for path in sorted(source.rglob("*.py"))
        if (name := path.relative_to(source).as_posix())
        and (found := imported_packages(path) - allowed - EXTRAS.get(name, set()))
    }

    assert reaching_out == {}
    assert [dependency.split(">")[0] for dependency in PROJECT["dependencies"]] == ["httpx2"]


def test_the_extra_of_the_lake_has_what_the_engine_imports_of_the_same_releases() -> None:
    """Each package that `expressions` or `lake` imports is in `tinycdp[lake]`, as the engine wants it, and no other."""
    extra = PROJECT["optional-dependencies"]["lake"]
    names = [re.split("[<>=]", requirement)[0] for requirement in extra]
    files = [path for name in ("expressions", "lake") for path in (ROOT / name).rglob("*.py")]
    imported = set().union(*map(imported_packages, files)) - set(sys.stdlib_module_names)

    assert set(extra) <= set(ENGINE["dependencies"])
    assert {PACKAGES.get(name, name) for name in names} == imported


def test_only_command_line_and_console_use_the_client() -> None:
    """The engine answers clients; it is none."""
    engine = (path for name in ("expressions", "lake", "serving", "pipelines") for path in (ROOT / name).rglob("*.py"))

    assert [str(path) for path in engine if "tinycdp" in imported_packages(path)] == []


def test_all_that_is_public_is_there_and_in_order() -> None:
    """`__all__` is what the package exports, sorted, and the release is the project's."""
    assert sorted(tinycdp.__all__) == tinycdp.__all__
    assert all(hasattr(tinycdp, name) for name in tinycdp.__all__)
