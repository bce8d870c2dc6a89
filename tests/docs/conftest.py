"""What the demo leaves, on a stack of its own: a notebook saves definitions, which the demo would not begin beside."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.running import RunningStack


@pytest.fixture(scope="session")
def demo_stack(tmp_path_factory: pytest.TempPathFactory, shared: ExitStack) -> RunningStack:
    """Has the demo's definitions and purchases, for tests of the group "notebooks"."""
    from cli.demo import DEFINITIONS, PURCHASES, read_definitions
    from tests.running import stack_on

    stack = shared.enter_context(stack_on(tmp_path_factory.mktemp("home"), drain_interval_s="0.2"))
    for wanted in read_definitions(DEFINITIONS):
        stack.define(wanted.kind, wanted.key, wanted.expression, **wanted.settings)
    columns = ("--user", "user_id", "--event", "event", "--time", "timestamp")
    stack.tinycdp("import", str(PURCHASES), *columns, "--shift-to-now")
    return stack


@pytest.fixture
def demo_environment(demo_stack: RunningStack) -> dict[str, str]:
    """The variables by which a program finds this stack and its lake."""
    keys = {f"TINYCDP_{kind.upper()}_KEY": key for kind, key in demo_stack.keys.items()}
    return {**keys, "TINYCDP_URL": demo_stack.stack.api_url, "TINYCDP_LAKE_URI": demo_stack.stack.lake_uri}
