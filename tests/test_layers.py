"""What the import contract in pyproject.toml cannot see: the SDK, which is not one of its packages."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = {"cli", "dashboard", "pipelines", "serving", "expressions", "lake"}


def imported_packages(source: str) -> set[str]:
    """The top-level names that a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_the_sdk_imports_nothing_of_the_engine() -> None:
    """People install the SDK into their own projects, where the engine is not."""
    sources = (ROOT / "sdk" / "python" / "src").rglob("*.py")

    reaching_in = {str(path): found for path in sources if (found := imported_packages(path.read_text()) & OURS)}

    assert reaching_in == {}
