"""Starts the stack for a command, and says meanwhile what a person waits for."""

from __future__ import annotations

from cli.orphans import say_ended
from cli.stack import Stack
from cli.terminal import AWAY, err, fail
from cli.up import StackError, start
from serving.settings import Settings


def started(settings: Settings, *, with_prefect: bool, with_console: bool) -> Stack:
    """The stack, once it is ready. Ends the command where it cannot start."""
    try:
        return start(
            settings, with_prefect=with_prefect, with_console=with_console, on_orphans=say_ended, on_wait=_say_why
        )
    except StackError as error:
        fail(str(error), AWAY)


def _say_why(why: str) -> None:
    """Says on standard error why it takes longer than usual."""
    err.print(why, markup=False, soft_wrap=True)
