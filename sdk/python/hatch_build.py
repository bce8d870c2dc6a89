"""Carries the engine into what is built: `expressions` and `lake`, as packages inside `tinycdp._engine`.

Both import their own files relatively, so they are carried as they are. One file is written anew: `_engine/__init__.py`
names them absolutely in a checkout, and relatively in what is built. An sdist has all of it already, so it gives the
same wheel anywhere. An editable install carries nothing: `dev-mode-dirs` puts the checkout on the path.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIED = ("expressions", "lake")
DOOR = "src/tinycdp/_engine"


class Engine(BuildHookInterface):
    """Hatchling calls it before and after each build."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Names the files that are carried. Raises where there is no engine to carry."""
        here = Path(self.root)
        self._written = TemporaryDirectory()
        if version == "editable" or (here / DOOR / CARRIED[0]).is_dir():
            return
        checkout = here.parents[1]
        if missing := [name for name in CARRIED if not (checkout / name / "__init__.py").is_file()]:
            raise RuntimeError(f"{checkout}: no {' and no '.join(missing)}; build in a checkout of TinyCDP or an sdist")
        door = Path(self._written.name, "__init__.py")
        door.write_text(beside((here / DOOR / "__init__.py").read_text()))
        build_data["force_include"][str(door)] = f"{DOOR}/__init__.py"
        for name in CARRIED:
            build_data["force_include"][str(checkout / name)] = f"{DOOR}/{name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Drops what was written for the build."""
        self._written.cleanup()


def beside(source: str) -> str:
    """The source whose imports of the carried packages are relative. Raises where one is left that is not."""
    written = re.sub(rf"^from ({'|'.join(CARRIED)})(?=[. ])", r"from .\1", source, flags=re.MULTILINE)
    for node in ast.walk(ast.parse(written)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        if left := [name for name in names if name.split(".")[0] in CARRIED]:
            raise RuntimeError(f"{DOOR}/__init__.py: write `from {left[0]} import …` at the beginning of a line")
    return written
