"""The OpenAPI document against the API itself: whatever it promises is asked for, by thousands of requests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli import up
from serving.settings import Settings
from tests.running import RunningStack

pytestmark = [pytest.mark.xdist_group("openapi"), pytest.mark.timeout(300)]

CONFIG = Path(__file__).with_name("schemathesis.toml")

EXAMPLES_MAX = 6
SEED = 20_261_123


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own, since it is filled with whatever chance finds."""
    settings = Settings(home=tmp_path_factory.mktemp("openapi"), port=0, drain_interval_s=0.1)
    found = up.start(settings, with_prefect=False)
    running = RunningStack(found, settings)
    try:
        yield running
    finally:
        running.http.close()
        up.stop(settings, found)


def test_the_api_does_what_its_document_says(own: RunningStack, tmp_path: Path) -> None:
    """Every check of schemathesis, from examples, boundaries, chance and sequences of calls, finds nothing."""
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={CONFIG}",
            "run",
            f"{own.stack.api_url}/openapi.json",
            "--checks=all",
            f"--header=Authorization: Bearer {own.keys['admin']}",
            f"--seed={SEED}",
            f"--max-examples={EXAMPLES_MAX}",
            "--continue-on-failure",
            "--warnings=off",
            "--no-color",
        ],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": ""},
        capture_output=True,
        text=True,
        timeout=280,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_operation_says_how_it_refuses(own: RunningStack) -> None:
    """Each call with a key documents 400, 401, 403 and 503, and none the framework's own 422."""
    document = httpx.get(f"{own.stack.api_url}/openapi.json").json()
    operations = {
        f"{method} {path}": operation
        for path, of_path in document["paths"].items()
        for method, operation in of_path.items()
    }

    keyed = {name: operation for name, operation in operations.items() if "security" in operation}
    assert len(keyed) > 30
    assert [
        name for name, operation in keyed.items() if not {"400", "401", "403", "503"} <= operation["responses"].keys()
    ] == []
    assert [name for name, operation in operations.items() if "422" in operation["responses"]] == []


def test_a_path_names_every_method_that_it_takes(own: RunningStack) -> None:
    """405 lists all of them in Allow, though several routes share the path."""
    answer = own.call("PATCH", "/v1/admin/traits/some")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PUT, DELETE")
