"""What the image does when it is built and when its parts start, without a container engine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import yaml

from cli.ports import free_port
from cli.redis_server import find_server
from serving.store.store import Store
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.mark.deep
def test_the_redis_of_compose_is_durable_and_closed(tmp_path: Path) -> None:
    """Its own command, with a server of this machine in the place of the image's, and its paths in a folder of ours.

    It is the process that was started, so it is told to stop itself.
    """
    server, port = find_server(), free_port("127.0.0.1")
    command = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["redis"]["command"][-1]
    config = (DEPLOY / "redis.conf").read_text()
    if server.version < (7,):
        config = config.replace("listpack", "ziplist")
    (tmp_path / "redis.conf").write_text(config.replace("bind 0.0.0.0", f"bind 127.0.0.1\nport {port}"))
    script = (
        command.replace("/etc/tinycdp/redis.conf", shlex.quote(str(tmp_path / "redis.conf")))
        .replace("dir /data", f"dir {tmp_path}")
        .replace("$$", "$")
        .replace("valkey-server", shlex.quote(str(server.path)))
    )
    environment = {**os.environ, "REDIS_PASSWORD": "a-password", "TINYCDP_REDIS_MEMORY_MAX": "64mb"}
    with subprocess.Popen(["sh", "-c", script], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            client = redis.Redis(port=port, password="a-password")

            def answers() -> bool:
                try:
                    return bool(client.ping())
                except redis.ConnectionError:
                    return False

            wait_until(answers, "the server answers", 20)
            with Store(f"redis://:a-password@127.0.0.1:{port}/0") as store:
                assert store.require_durable().memory_max == 64 * 1024**2
            with pytest.raises(redis.AuthenticationError):
                redis.Redis(port=port).ping()
            # A container's first process is told to stop, and no shell tells the server.
            assert client.info("server")["process_id"] == process.pid
        finally:
            process.terminate()


def test_the_image_is_built_by_the_script_and_runs_as_nobody_of_note() -> None:
    """The file has no step of its own beside it, and names the ports and the stop that the parts have."""
    text = (DEPLOY / "Containerfile").read_text()

    assert re.findall(r"^RUN (sh .*)$", text, re.M) == ["sh /source/deploy/install.sh /opt/tinycdp"]
    assert re.findall(r"^(USER|EXPOSE|ENTRYPOINT|STOPSIGNAL) (.*)$", text, re.M) == [
        ("USER", "10001"),
        ("EXPOSE", "4000 8501"),
        ("STOPSIGNAL", "SIGTERM"),
        ("ENTRYPOINT", '["tinycdp"]'),
    ]


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_what_the_script_installs_runs_a_stack_without_the_checkout(tmp_path: Path) -> None:
    """In an empty folder: the stack starts, the tour runs, and all answers are the lake's."""
    prefix, home = tmp_path / "prefix", tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TINYCDP", "PYTHON"))}
    environment |= {"TINYCDP_HOME": str(home), "PYTHON": sys.executable}
    environment |= {f"TINYCDP_{name}PORT": "0" for name in ("", "CONSOLE_", "PREFECT_")}

    def run(*command: str | Path, seconds: int = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=seconds)

    installed = run("sh", DEPLOY / "install.sh", prefix, seconds=600)
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout.startswith("tinycdp ")
    again = run("sh", DEPLOY / "install.sh", prefix)
    assert again.returncode == 1 and "is not empty" in again.stderr

    tinycdp = prefix / "bin" / "tinycdp"
    try:
        toured = run(tinycdp, "demo", "--no-prefect", seconds=240)
        assert toured.returncode == 0, toured.stderr
        checked = run(tinycdp, "doctor")
        assert checked.returncode == 0, checked.stdout
        assert "0 of " in checked.stdout
    finally:
        assert run(tinycdp, "down").returncode == 0
