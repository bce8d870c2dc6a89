"""Two homes with a lake each, told one Redis: the second one is refused, whatever of it is started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from cli.embedded_redis import EmbeddedRedis
from lake.lake import Lake
from lake.schemas import EVENTS
from tests.cli.test_wrong_settings import ended_of
from tests.faults.conftest import breakable
from tests.faults.load import load
from tests.faults.parts import await_drained, health
from tests.faults.truth import assert_all_counted, assert_in_lake, assert_lake_is_exact
from tests.running import RunningStack, stack_on

#: Each part that starts alone, what starts them all, and commands that ask the lake.
STARTED = (("drain",), ("worker",), ("api",), ("up", "--no-prefect", "--no-console"), ("users", "orders"), ("rebuild",))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack on a Redis that is not its own process."""
    redis_folder, home = (tmp_path_factory.mktemp(name) for name in ("redis", "first"))
    with EmbeddedRedis(redis_folder) as server, breakable(home, redis_url=server.url) as stack:
        yield stack


@pytest.mark.deep
@pytest.mark.timeout(300)
@pytest.mark.parametrize("has_lake", [True, False], ids=["another lake", "no lake yet"])
def test_nothing_of_a_second_home_starts_on_the_redis_of_the_first(
    first: RunningStack, tmp_path: Path, has_lake: bool
) -> None:
    """Each is refused in one line that names both lakes and the remedy, while the first goes on and loses nothing."""
    home = tmp_path / "second"
    lake = Lake(str(home / "lake"))
    told = f"is lake {lake.id()}" if has_lake else "holds no lake"
    own = Lake(first.stack.lake_uri)
    settings = {"TINYCDP_HOME": str(home), "TINYCDP_REDIS_URL": first.stack.redis_url, "TINYCDP_PORT": "0"}

    with load(first, f"beside-{has_lake}") as sent:
        sent.await_more(50)
        for command in STARTED:
            if command == ("api",) and not has_lake:
                continue  # it takes events and decides while no lake is there
            ended = ended_of(settings, *command)
            lines = ended.stderr.splitlines()
            assert (ended.returncode, len(lines)) == (3, 1), (command, ended.stderr)
            for word in (f"belongs to lake {own.id()}", told, "TINYCDP_LAKE_URI", "TINYCDP_REDIS_URL"):
                assert word in lines[0], command
        if has_lake:
            ended = ended_of(settings, "doctor")
            assert ended.returncode == 1 and f"belongs to lake {own.id()}" in ended.stdout, ended.stderr
        sent.await_more(50)
    await_drained(first)

    assert health(first)["status"] == "ok"
    assert_lake_is_exact(first.stack.lake_uri)
    assert_all_counted(first, sent)
    assert_in_lake(first.stack.lake_uri, sent)
    if has_lake:
        assert lake.scan(EVENTS).select(pl.len()).collect().item() == 0
    else:
        assert not Path(lake.root).exists()


@pytest.mark.deep
@pytest.mark.timeout(300)
def test_a_stack_whose_own_lake_is_gone_makes_no_new_one(tmp_path: Path) -> None:
    """The embedded Redis tells whose it is once it runs: `up` ends in one line. With the lake back all is as before."""
    home = tmp_path / "home"
    with breakable(home) as stack:
        stack.track("ada", "purchase", properties={"amount": 3})
        await_drained(stack)
        own = Path(stack.stack.lake_uri)
    own.rename(tmp_path / "away")

    ended = ended_of({"TINYCDP_HOME": str(home), "TINYCDP_PORT": "0"}, "up", "--no-prefect", "--no-console")
    lines = ended.stderr.splitlines()
    assert (ended.returncode, len(lines)) == (3, 1), ended.stderr
    assert "belongs to lake" in lines[0] and f"{own} holds no lake" in lines[0]
    assert not (own / EVENTS.name).exists()

    if own.exists():
        own.rmdir()
    (tmp_path / "away").rename(own)
    with stack_on(home) as stack:
        assert stack.traits("ada")["traits"] == {"orders": 1, "spent": 3}
