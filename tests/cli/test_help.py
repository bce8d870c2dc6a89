"""The help of each command reads by itself: sentences, and no word that only the README explains."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli.main import app

GROUP: Any = typer.main.get_command(app)


@pytest.mark.parametrize("name", GROUP.commands)
def test_help_is_sentences(name: str) -> None:
    """The text of a command, and of each of its options and arguments, begins like a sentence and ends like one."""
    command = GROUP.commands[name]
    texts = [command.help, *(parameter.help for parameter in command.params)]

    assert all(re.fullmatch(r"[A-Z].*\.", (text or "").strip(), re.DOTALL) for text in texts), texts


@pytest.mark.parametrize("arguments", [(), *((name,) for name in GROUP.commands)])
def test_help_names_no_rule_by_its_number(arguments: tuple[str, ...]) -> None:
    """A rule of the language has a number in the README alone."""
    printed = CliRunner().invoke(app, [*arguments, "--help"])

    assert (printed.exit_code, "--help" in printed.output) == (0, True)
    assert not re.search(r"\bS\d+\b", printed.output)
