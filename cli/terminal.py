"""How a command speaks: to people or to scripts, how far it is, and how it fails.

Results go to standard output, all else to standard error. Exit codes:

    0   done and well
    1   something is wrong with what was asked, or with what was found
    2   the command was called wrongly, or a setting is wrong
    3   a part that is needed is away
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

WRONG, MISUSED, AWAY = 1, 2, 3

#: The option of every command that has a result.
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, for scripts.")]

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def fail(message: str, code: int = WRONG) -> NoReturn:
    """Ends the command: the message on standard error, the code as exit code."""
    err.print(message, style="red", markup=False, soft_wrap=True)  # a line is a line in a log, too
    raise SystemExit(code)


def say(body: Any, text: str, as_json: bool) -> None:
    """Prints the result: the body as JSON for scripts, or the text for people."""
    if as_json:
        say_json(body)
    else:
        out.print(text, markup=False)


def one_line(text: str) -> str:
    """A text as a line of its own: one with ends of lines, or others that do not print, is written as JSON has it."""
    return text if text.isprintable() and not text.startswith('"') else json.dumps(text)


def say_json(body: Any) -> None:
    """Prints the result for scripts, over several lines."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(body), indent=1).decode() + "\n")


class Rate(ProgressColumn):
    """How much is done in a second, of late; empty until that is known."""

    def render(self, task: Task) -> Text:
        """The text of the column, which rich asks for."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "")


class TimeLeft(TimeRemainingColumn):
    """The time left; empty where nobody knows of how much."""

    def render(self, task: Task) -> Text:
        """The text of the column, which rich asks for."""
        left = task.time_remaining
        return Text(f"{super().render(task).plain} left") if task.total is not None and left else Text("")


@contextmanager
def progress_bar(title: str, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on standard error, with the rate and the time left; the callback takes how much is done, and of how much,
    None where that is not known.
    """
    if quiet:
        yield lambda done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TimeLeft(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
