"""The built file in the repository is what its source gives, and says whose work is in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from dashboard.editor import bundle
from tests.protocols.node_clients import installed_from, node_environment

SOURCE = bundle.SOURCE


def manifest() -> dict[str, object]:
    """What the build noted."""
    noted: dict[str, object] = json.loads((bundle.FOLDER / "manifest.json").read_text())
    return noted


def test_the_bundle_was_built_from_the_source_beside_it() -> None:
    """Each file of the source has the hash that the build noted, and there is no other file."""
    files = [*SOURCE.glob("src/*"), *(SOURCE / name for name in ("build.mjs", "package.json", "package-lock.json"))]
    hashes = {path.relative_to(SOURCE).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}

    assert hashes == manifest()["sources"], "run `make editor`"


def test_the_name_of_the_bundle_is_the_hash_of_its_bytes() -> None:
    """So a browser may keep it for ever; and there is no older one beside it."""
    built = [path.name for path in bundle.FOLDER.glob("*.js")]
    digest = sha256((bundle.FOLDER / bundle.file_name()).read_bytes()).hexdigest()

    assert built == [bundle.file_name()] == [f"expression-editor.{digest[:16]}.js"]


@pytest.mark.deep
def test_a_build_from_the_lock_gives_the_same_bytes(tmp_path: Path) -> None:
    """With the packages that the lock names, whichever Node builds."""
    node, modules = installed_from(SOURCE)
    shutil.copytree(SOURCE, tmp_path / "source", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(modules, tmp_path / "source" / "node_modules", symlinks=True)

    subprocess.run(
        [node, tmp_path / "source" / "build.mjs", tmp_path / "bundle"], env=node_environment(node), check=True
    )

    assert contents(tmp_path / "bundle") == contents(bundle.FOLDER), "run `make editor`"


def test_each_package_in_the_bundle_has_its_licence_in_the_list() -> None:
    """The list has the packages that are shipped, and neither the builder nor an address of a registry."""
    lock = json.loads((SOURCE / "package-lock.json").read_text())["packages"]
    shipped = {name.removeprefix("node_modules/") for name, package in lock.items() if name and not package.get("dev")}
    licences = (bundle.FOLDER / "LICENSES.txt").read_text()
    listed = {line.rsplit(" ", 2)[0] for line in licences.splitlines() if line.endswith(", MIT")}

    assert listed <= shipped
    assert {"@codemirror/view", "@codemirror/autocomplete", "@lezer/highlight", "style-mod"} <= listed
    assert licences.count("Permission is hereby granted") == len(listed)
    assert "resolved" not in (SOURCE / "package-lock.json").read_text()


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder and their bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
