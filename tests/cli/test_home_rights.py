"""What other users of a machine may open in a home, however deep."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cli.home_rights import close_home, open_to_others

#: A user who owns nothing.
SOMEBODY = 65_534


def home_in(folder: Path) -> Path:
    """A home that others may look into, with a lake in it whose files they may read."""
    home = folder / "home"
    (home / "lake" / "events").mkdir(parents=True)
    (home / "lake" / "events" / "part.parquet").write_text("people")
    (home / "keys.json").write_text("{}")
    for path in (home, *home.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return home


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that another user can reach: pytest's own are closed."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


def as_somebody(work: Callable[[], object]) -> None:
    """Does the work in a child that has the rights of another user."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_folder_closes_what_is_in_it(tmp_path: Path) -> None:
    """The folder alone is named, and once it is closed nothing in it can be reached."""
    home = home_in(tmp_path)
    assert open_to_others(home) == [home / "lake", home / "keys.json"]

    close_home(home)

    assert open_to_others(home) == [] and (home / "lake").stat().st_mode & 0o077 == 0


def test_a_lake_of_another_name_in_the_home_is_closed_too(tmp_path: Path) -> None:
    """A lake that the settings put into the home is part of it; a neighbour there is not."""
    home = home_in(tmp_path)
    for name in ("tables", "site"):
        (home / name).mkdir(mode=0o755)
        (home / name).chmod(0o755)
    assert home / "tables" in open_to_others(home, str(home / "tables"))

    close_home(home, str(home / "tables"))

    assert [(home / name).stat().st_mode & 0o777 for name in ("tables", "site")] == [0o700, 0o755]
    assert open_to_others(home, "s3://bucket/lake") == open_to_others(home, str(tmp_path / "elsewhere")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_in_a_folder_of_another_user_each_file_is_closed(open_folder: Path) -> None:
    """The root of a mounted disk belongs to somebody else and stays open: what is ours in it is closed, however deep,
    and what is not is named."""
    open_folder.chmod(0o755)
    home = home_in(open_folder)
    foreign = home / "lake" / "foreign"
    foreign.write_text("of root")
    foreign.chmod(0o644)
    for path in (home, home / "keys.json", home / "lake" / "events", home / "lake" / "events" / "part.parquet"):
        os.chown(path, SOMEBODY, SOMEBODY)
    left: list[Path] = [home / "lake" / "foreign"]

    def close() -> None:
        assert open_to_others(home) == [home / "lake" / "events", foreign, home / "keys.json"]
        close_home(home)
        assert open_to_others(home) == left

    as_somebody(close)

    assert (home / "lake" / "events").stat().st_mode & 0o077 == 0
    assert (home / "lake").stat().st_mode & 0o777 == 0o755
