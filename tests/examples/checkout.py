"""The examples in Node as somebody has them who cloned the project: beside the package, which is built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.protocols.node_clients import installed_from, node_environment
from tests.sdk.typescript_package import ROOT, TypeScriptPackage

EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Example:
    """An example with its packages as locked, and the Node that runs it."""

    node: str
    folder: Path

    def run(
        self, script: str, *arguments: str, timeout_s: float = 100, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """What a script of it, or of a package of it, does until it ends."""
        return subprocess.run(
            [self.node, script, *arguments],
            cwd=self.folder,
            env={**node_environment(self.node), **settings},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    @contextmanager
    def runs(self, script: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """A script that runs on, and the address that it says it serves. It is ended with the block."""
        process = subprocess.Popen(
            [self.node, script],
            cwd=self.folder,
            env={**node_environment(self.node), **settings},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert "http://" in said, said
            yield process, said[said.index("http://") :].strip().rstrip("/")
        finally:
            process.terminate()
            process.communicate(timeout=20)


def example_in(checkout: Path, name: str, package: TypeScriptPackage) -> Example:
    """An example, copied to a checkout and installed there. Its lock leads to the package by a path."""
    source = EXAMPLES / name
    node, modules = installed_from(source)
    folder = checkout / "examples" / name
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    package.app(folder)
    for one in modules.iterdir():
        if one.name != "@tinycdp":
            (folder / "node_modules" / one.name).symlink_to(one)
    return Example(node, folder)
