"""The page on the Python client: its snippets run, in their order, and its table has every setting."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tinycdp._settings import _DEFAULTS

from tests.running import RunningStack
from tests.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()


@pytest.mark.xdist_group("stack")
def test_the_snippets_run(stack: RunningStack, tmp_path: Path) -> None:
    """Each runs after those before it, with the address and the keys in the environment."""
    snippets = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    # A trait over an event that nobody has sent is warming until a rebuild. The page's reader takes longer than that.
    stack.define("trait", "of_the_page", "events.ordered.count")
    wait_until(lambda: not stack.traits("nobody")["warming"], "what the page reads is rebuilt")
    program = tmp_path / "snippets.py"
    program.write_text("\n".join(snippets) + '\nprint("all ran")\n')
    keys = {f"TINYCDP_{kind.upper()}_KEY": key for kind, key in stack.keys.items()}
    environment = {**os.environ, **keys, "TINYCDP_PROFILE_KEY": stack.keys["admin"], "TINYCDP_URL": stack.stack.api_url}
    environment["TINYCDP_DECIDE_TIMEOUT_S"] = "30"  # as long as a busy machine takes

    done = subprocess.run(
        [sys.executable, str(program)], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert len(snippets) > 8
    assert (done.returncode, done.stdout.endswith("all ran\n")) == (0, True), done.stderr
    assert "object is no JSON value" in done.stdout


def test_the_table_has_every_setting_with_its_default() -> None:
    """One row each, in the order of the code, and the default as it would be typed."""

    def typed_as(default: object) -> str:
        return "none" if default is None else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"

    rows = re.findall(r"^\| `(\w+)` \| (none|`[^`]+`) \|", PAGE.partition("## Settings")[2], re.MULTILINE)

    assert rows == [(name, typed_as(default)) for name, (default, _, _) in _DEFAULTS.items()]
