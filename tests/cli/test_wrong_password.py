"""A Redis that does not let us in: each part and each command says so at once, with the setting to correct."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cli.embedded_redis import EmbeddedRedis
from serving.settings import Settings
from tests.cli.test_wrong_settings import ended_of
from tests.serving.local_api import answers, get

PASSWORD, WRONG = "hunter2-right", "hunter2-wrong"

#: The parts that start alone, what starts them all, and commands that ask Redis.
COMMANDS = (("api",), ("drain",), ("worker",), ("up", "--no-prefect"), ("doctor",), ("users", "vip"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A Redis that asks for a password."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", PASSWORD)
        yield server


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    ("login", "database"), [(f":{WRONG}@", 0), ("", 0), (f":{PASSWORD}@", 99)], ids=["wrong", "none", "no database"]
)
def test_a_wrong_password_is_said_in_one_line(
    server: EmbeddedRedis, tmp_path: Path, command: tuple[str, ...], login: str, database: int
) -> None:
    """The exit code is 3, the line names the setting and shows no password, and no part waits the minute that it waits
    for a Redis that is away."""
    url = f"redis://{login}127.0.0.1:{server.port}/{database}"

    ended = ended_of({"TINYCDP_HOME": str(tmp_path / "home"), "TINYCDP_REDIS_URL": url, "TINYCDP_PORT": "0"}, *command)

    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (3, 1), ended.stderr
    assert "Redis does not let us in" in lines[0] and "TINYCDP_REDIS_URL" in lines[0]
    assert "hunter2" not in ended.stderr + ended.stdout, "also where a part logs what it was given"


def test_health_tells_a_refused_password_from_a_redis_that_is_away(server: EmbeddedRedis, tmp_path: Path) -> None:
    """A password may change while the API runs."""
    url = f"redis://:{WRONG}@127.0.0.1:{server.port}/0"

    whole, part = answers(Settings(home=tmp_path, redis_url=url), [get("/health"), get("/decide/health")])

    assert whole.json()["checks"]["redis"]["error"] == "Redis refuses the password of TINYCDP_REDIS_URL"
    assert (part.status_code, part.json()["checks"]["database"]["status"]) == (503, "error")
