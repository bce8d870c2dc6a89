"""The OpenAPI document against the API itself: whatever it promises is asked for, by thousands of requests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import RunningStack, stack_on

#: Requests by chance to each operation; they and their machine's pace make the time that all may take.
EXAMPLES_MAX = int(os.environ.get("TINYCDP_REQUESTS", "10"))
SECONDS_MAX = 300 + 8 * EXAMPLES_MAX
SEED = 20_261_123

CONFIG = Path(__file__).with_name("schemathesis.toml")

pytestmark = [pytest.mark.xdist_group("openapi"), pytest.mark.timeout(SECONDS_MAX + 60)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A stack of its own, since it is filled with whatever chance finds."""
    with stack_on(tmp_path_factory.mktemp("openapi"), drain_interval_s="0.2") as running:
        yield running


@pytest.mark.deep
def test_the_api_does_what_its_document_says(own: RunningStack, tmp_path: Path) -> None:
    """Every check of schemathesis, from examples, boundaries, chance and sequences of calls, finds nothing.

    D-21: fields were declared and not sent.
    """
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
        timeout=SECONDS_MAX,
    )

    assert done.returncode == 0, done.stdout + done.stderr
