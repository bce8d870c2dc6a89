"""What the tests of the examples share: a checkout with the package built, and calls to the demo's stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demo import Demo
from tests.examples.checkout import Example, example_in
from tests.running import RunningStack
from tests.sdk.typescript_package import package_in


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Example]:
    """Gives an example by its folder's name, ready to run. It is made once."""
    checkout: Path = tmp_path_factory.mktemp("checkout")
    package = package_in(checkout / "sdk" / "typescript")
    package.build()
    made: dict[str, Example] = {}

    def example(name: str) -> Example:
        if name not in made:
            made[name] = example_in(checkout, name, package)
        return made[name]

    return example


@pytest.fixture(scope="session")
def running(demo: Demo) -> Iterator[RunningStack]:
    """Calls to the demo's stack."""
    running = RunningStack(demo.stack, demo.settings)
    yield running
    running.http.close()
