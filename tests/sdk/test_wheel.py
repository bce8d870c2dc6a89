"""What `make sdk` builds of the Python client, installed alone: it reads a lake, and takes no name from a project."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lake.lake import Lake
from pipelines.importing.import_file import import_file

ROOT = Path(__file__).parents[2]
SDK = ROOT / "sdk" / "python"
CARRIED = ("expressions", "lake")
#: What the interpreter finds without our checkout.
INSTALLED = Path(distribution("hatchling").locate_file("")).resolve()


def built(source: Path, target: str, folder: Path) -> Path:
    """What a build makes of the client in `source`."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    (artifact,) = folder.glob("tinycdp-*.whl" if target == "wheel" else "tinycdp-*.tar.gz")
    return artifact


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built in the checkout."""
    return built(SDK, "wheel", tmp_path_factory.mktemp("wheel"))


def test_what_is_built_says_what_it_is(wheel: Path, tmp_path: Path) -> None:
    """Wheel and sdist have the project's licence, and a page whose snippets run in a test."""
    sdist = built(SDK, "sdist", tmp_path)
    page, licence = (SDK / "README.md").read_text(), (ROOT / "LICENSE").read_bytes()
    with zipfile.ZipFile(wheel) as packed:
        (info,) = (name for name in packed.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(packed.read(info))
        assert packed.read(info.replace("METADATA", "licenses/LICENSE")) == licence
    with tarfile.open(sdist) as unpacked:
        names = {name.partition("/")[2] for name in unpacked.getnames()}

    assert (metadata["License-Expression"], metadata["License-File"]) == ("Apache-2.0", "LICENSE")
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert page.strip().encode() in metadata.get_payload(decode=True)
    assert {"README.md", "LICENSE"} <= names
    snippets = re.findall(r"```python\n.*?```", page, re.DOTALL)
    assert snippets and all(snippet in (ROOT / "docs" / "python.md").read_text() for snippet in snippets)


def needed(requirements: Iterable[str], extra: str = "") -> set[str]:
    """The distributions that these bring on this machine, with those that they bring."""
    names: set[str] = set()
    waiting = [Requirement(one) for one in requirements]
    while waiting:
        wanted = waiting.pop()
        if wanted.name.lower() in names or (wanted.marker and not wanted.marker.evaluate({"extra": extra})):
            continue
        names.add(wanted.name.lower())
        waiting += [Requirement(one) for one in distribution(wanted.name).requires or ()]
    return names


def requirements_of(wheel: Path) -> list[str]:
    """What a wheel says that it needs, with the extras of which each is."""
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(files.read(name)).get_all("Requires-Dist", [])


@pytest.fixture(scope="module")
def user_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with `tinycdp[lake]`, and nothing else.

    What the wheel says that it needs is linked from here, so that no index is asked. Then pip installs the wheel with
    its extra, and finds that the releases which are there will do.
    """
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    (folder,) = home.glob("lib/python*/site-packages")
    for name in needed(requirements_of(wheel), extra="lake"):
        for part in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            if not (folder / part).exists():
                (folder / part).symlink_to(INSTALLED / part)
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index"]
    subprocess.run([*command, "--disable-pip-version-check", f"{wheel}[lake]"], check=True, timeout=60)
    return python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of somebody's project, which has a `lake` and `expressions` of its own."""
    for name in CARRIED:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("OF = 'the project'\n")
    return tmp_path


def printed(python: Path, project: Path, program: str, *arguments: str) -> list[str]:
    """The lines that a program of the project prints; it must succeed."""
    (project / "main.py").write_text(program)
    command = [str(python), "-W", "error", "main.py", *arguments]
    done = subprocess.run(command, cwd=project, env={}, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_a_lake_is_read_in_a_project_with_packages_of_the_same_names(
    user_python: Path, project: Path, tmp_path: Path
) -> None:
    """The wheel has the engine inside itself, and needs what its extra names and no more."""
    at = {"user_column": "customer", "event_column": "event", "time_column": "at"}
    import_file(Lake(str(tmp_path / "home")), ROOT / "examples" / "history.csv", **at, now_ms=1_800_000_000_000)
    program = """
import sys
from datetime import datetime, timezone
import expressions, lake, tinycdp

cdp = tinycdp.lake(sys.argv[1])
print(sorted(cdp.events.collect()["name"]))
ends = [datetime(*month, 1, tzinfo=timezone.utc) for month in ((2024, 11), (2024, 12), (2025, 1))]
spent = cdp.traits([], at=ends, extra={"spent": "events.purchase.amount.sum"}).frame
print([spent.filter(id="user:ada", at=at)["spent"].item() for at in ends])
print(cdp.segment("events.purchase.count >= 1").members()["id"].to_list())
print(expressions.OF, lake.OF)
"""

    assert printed(user_python, project, program, str(tmp_path / "home")) == [
        "['purchase', 'purchase', 'purchase', 'visit', 'visit']",
        "[0.0, 24.9, 86.9]",
        "['user:ada', 'user:grace']",
        "the project the project",
    ]


def test_every_module_of_the_engine_can_be_imported(user_python: Path, project: Path) -> None:
    """Also those that no call has asked for so far: nothing that they need is missing in the extra."""
    program = """
import importlib, pkgutil
from tinycdp import _engine

for module in pkgutil.walk_packages(_engine.__path__, "tinycdp._engine."):
    importlib.import_module(module.name)
    print(module.name)
"""
    found = printed(user_python, project, program)
    files = [path.relative_to(ROOT).with_suffix("") for name in CARRIED for path in (ROOT / name).rglob("*.py")]

    assert sorted(found) == sorted(
        f"tinycdp._engine.{'.'.join(part for part in path.parts if part != '__init__')}" for path in files
    )


def test_importing_the_client_imports_nothing_of_the_extra(user_python: Path, project: Path) -> None:
    """Who sends events waits for no engine and no Polars."""
    program = """
import sys
import tinycdp

print(sorted({"polars", "deltalake", "pyarrow", "numpy", "sqlglot", "tinycdp._engine"} & set(sys.modules)))
"""

    assert printed(user_python, project, program) == ["[]"]


def test_nothing_lands_beside_the_client(wheel: Path) -> None:
    """A user's site-packages gets the folder `tinycdp` and its metadata; the engine is carried byte for byte."""
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        carried = {name: files.read(name) for name in names if re.match(r"tinycdp/_engine/\w+/", name)}

    assert {name.split("/")[0] for name in names} == {"tinycdp", wheel.name.partition("-py3")[0] + ".dist-info"}
    assert carried == {
        f"tinycdp/_engine/{path.relative_to(ROOT).as_posix()}": path.read_bytes()
        for name in CARRIED
        for path in (ROOT / name).rglob("*.py")
    }


def test_an_sdist_builds_the_same_wheel_anywhere(wheel: Path, tmp_path: Path) -> None:
    """It has all that the wheel needs, so no checkout is beside it."""
    with tarfile.open(built(SDK, "sdist", tmp_path)) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("tinycdp-*/")
    again = built(unpacked, "wheel", tmp_path)

    with zipfile.ZipFile(wheel) as here, zipfile.ZipFile(again) as there:
        assert contents(here) == contents(there)


def contents(wheel: zipfile.ZipFile) -> dict[str, list[bytes]]:
    """The lines of each file of a wheel. Its list of files is sorted: files that a build adds stand at its end."""
    lines = {name: wheel.read(name).splitlines() for name in wheel.namelist()}
    return {name: sorted(rows) if name.endswith("/RECORD") else rows for name, rows in lines.items()}


def copied(root: Path, *carried: str) -> Path:
    """The client's own project below another root, whose packages of these names are empty."""
    client = root / "sdk" / "python"
    door = client / "src" / "tinycdp" / "_engine"
    for folder in (door, *(root / name for name in carried)):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "src/tinycdp/__init__.py"):
        (client / name).write_bytes((SDK / name).read_bytes())
    return client


def test_a_client_without_an_engine_is_not_built(tmp_path: Path) -> None:
    """A copy of `sdk/python` alone says what to do."""
    with pytest.raises(AssertionError, match="no expressions and no lake; build in a checkout of TinyCDP or an sdist"):
        built(copied(tmp_path), "wheel", tmp_path)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import lake.errors", "write `from lake.errors import …` at the beginning of a line"),
        ("def late():\n    from expressions import ops", "write `from expressions import …` at the beginning"),
    ],
)
def test_an_import_that_would_stay_absolute_is_refused(source: str, said: str, tmp_path: Path) -> None:
    """Else it would find a user's own package of that name."""
    client = copied(tmp_path, *CARRIED)
    (client / "src" / "tinycdp" / "_engine" / "__init__.py").write_text(f"from lake.lake import Lake\n{source}\n")

    with pytest.raises(AssertionError, match=re.escape(said)):
        built(client, "wheel", tmp_path)
