"""Starts and stops the stack of one machine.

1. Looks for what no waiting mends: another stack on this home, a fixed setting that changed, a Redis that loses events.
2. Plans the parts (`cli/stack_parts.py`) and launches their supervisor (`cli/supervisor.py`).
3. Writes where all of it answers (`cli/stack.py`), and waits until it does.
"""

from __future__ import annotations

import fcntl
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from cli.ports import PortTaken
from cli.redis_server import EmbeddedRedisError
from cli.stack import Stack, forget_stack, running_stack, write_stack
from cli.stack_parts import plan_stack
from cli.supervisor import end, is_alive, launch
from serving.settings import Settings, settings_fixed
from serving.store.errors import NotDurable, OtherSetting, StoreError

READY_S_MAX = 120.0


class StackError(RuntimeError):
    """The stack cannot run; the message ends with the remedy."""


def start(settings: Settings, *, with_prefect: bool = True) -> Stack:
    """Starts the stack and returns once `/health` answers 200; it outlives this process until `stop`.

    Raises `StackError` when another stack runs on this home, or when this one is not ready within two minutes.
    """
    home = settings.home.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is stopped
    (home / "logs").mkdir(parents=True, exist_ok=True)
    with _alone_on(home, settings):
        _refuse_what_cannot_run(settings, home)
        try:
            plan = plan_stack(settings, home, with_prefect)
        except (EmbeddedRedisError, PortTaken) as error:
            raise StackError(str(error)) from None
        stack = Stack(pid=launch(home, plan.parts, plan.environment), **plan.addresses)
        write_stack(home, stack)
    try:
        _await_ready(stack, home)
    except BaseException:
        stop(settings, stack)
        raise
    return stack


def stop(settings: Settings, stack: Stack) -> None:
    """Stops the parts in order and returns when the supervisor has ended. Nothing that was acknowledged is lost."""
    end(stack.pid)
    forget_stack(settings.home)


def wait_for_end(stack: Stack) -> None:
    """Returns on SIGINT or SIGTERM. Raises `StackError` when the supervisor itself ended."""
    try:
        while is_alive(stack.pid):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise StackError("the supervisor ended by itself: see logs/supervisord.log under TINYCDP_HOME")


@contextmanager
def _alone_on(home: Path, settings: Settings) -> Iterator[None]:
    """Keeps every other `up` on this home waiting. Raises `StackError` when a stack runs on it already."""
    with open(home / "up.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if running_stack(settings) is not None:
            raise StackError(
                f"a stack runs on {home} already: stop it with `tinycdp down`, or set TINYCDP_HOME to another folder"
            )
        yield


def _refuse_what_cannot_run(settings: Settings, home: Path) -> None:
    """Raises `StackError`, before anything starts, for what no waiting mends.

    A Redis or a lake that is away is not refused: it may come.
    """
    from lake.errors import LakeError
    from lake.storage import fixed
    from serving.store.requirements import require_same
    from serving.store.store import Store

    root = settings.lake_uri or str(home / "lake")
    try:
        if settings.redis_url is not None:
            with Store(settings.redis_url, settings.shards, timeout_s=5) as store:
                store.require_durable(settings.durability)
                store.require_shards()
        noted = fixed(root)
        for name, value in settings_fixed(settings).items():
            require_same(name, noted.get(name), value)
    except (NotDurable, OtherSetting) as error:
        raise StackError(str(error)) from None
    except (StoreError, LakeError):
        return


def _await_ready(stack: Stack, home: Path) -> None:
    """Returns once the API, and Prefect where it is a part, are well. Raises `StackError` after two minutes."""
    deadline = time.monotonic() + READY_S_MAX
    last_answer = "no answer"
    # One client for all of them: to make one takes as long as twenty questions, beside parts that are starting.
    with httpx.Client(timeout=2) as client:
        while time.monotonic() < deadline:
            if not is_alive(stack.pid):
                raise StackError(f"the supervisor ended: see {home / 'logs' / 'supervisord.log'}")
            try:
                answer = client.get(f"{stack.api_url}/health")
                prefect_url = stack.prefect_url
                if answer.status_code == 200 and (prefect_url is None or _is_well(client, f"{prefect_url}/api/health")):
                    return
                last_answer = answer.text
            except httpx.TransportError as error:
                last_answer = str(error)
            time.sleep(0.1)
    raise StackError(f"not ready after {READY_S_MAX:.0f} s ({last_answer[:300]}): see {home / 'logs'}")


def _is_well(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False
