"""Starts and stops the stack of one machine.

1. Looks for what no waiting mends: another stack on this home, a fixed setting that changed, a Redis that loses events.
   Ends what a killed supervisor left here (`cli/orphans.py`).
2. Plans the parts (`cli/stack_parts.py`) and launches their supervisor (`cli/supervisor.py`).
3. Writes where all of it answers (`cli/stack.py`), and waits until it does.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from cli.health import Servers
from cli.home_rights import close_home
from cli.orphans import NotEnded, Orphan, end_orphans, is_supervised, supervisor_lock
from cli.ports import PortTaken
from cli.process_lock import holder, is_here
from cli.redis_log import damage_of, log_size
from cli.redis_server import EmbeddedRedisError
from cli.restoring import NotRestored, require_restored
from cli.stack import Stack, forget_stack, running_stack, write_stack
from cli.stack_parts import plan_stack
from cli.supervisor import end, has_stopped, is_alive, last_words, launch
from serving.access.keys import raw_keys
from serving.settings import Settings, home_unusable, settings_fixed
from serving.store.errors import NotAdmitted, NotDurable, OtherSetting, StoreError

#: How long a stack may take until it is ready, or, while Redis is brought back from the lake, until it is not any more.
READY_S_MAX = 120.0
#: How long Redis is brought back before that is said: of a small lake it takes a moment.
TOLD_AFTER_S = 10.0
#: How long a server may take to say whether it is well.
ANSWER_S = 2.0


class StackError(RuntimeError):
    """The stack cannot run; the message ends with the remedy."""


def start(
    settings: Settings,
    *,
    with_prefect: bool = True,
    with_console: bool = False,
    on_orphans: Callable[[Sequence[Orphan]], None] = lambda ended: None,
    on_wait: Callable[[str], None] = lambda why: None,
) -> Stack:
    """Starts the stack and returns once `/health` answers 200; it outlives this process until `stop`.

    `on_orphans` is told which parts of a killed supervisor were ended first, `on_wait` once why it takes longer than
    usual. Raises `StackError` when another stack runs on this home, or when this one is not ready within two minutes,
    beside those in which Redis is brought back from the lake; `WrongSettings` for a home that cannot be made.
    """
    home = settings.home.absolute()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what was started is stopped
    try:
        close_home(home, settings.lake_uri)
    except OSError as error:
        raise home_unusable(home, error) from None
    with alone_on(home):
        if running_stack(settings) is not None:
            raise StackError(
                f"a stack runs on {home} already: stop it with `tinycdp down`, or set TINYCDP_HOME to another folder"
            )
        try:
            require_restored(home)
        except NotRestored as error:
            raise StackError(str(error)) from None
        raw_keys(settings)  # refused here, in one line, where no keys can be had
        _refuse_what_cannot_run(settings, home)
        ended = _end_what_is_left(home)
        if ended:
            on_orphans(ended)
        try:
            plan = plan_stack(settings, home, with_prefect, with_console)
        except (EmbeddedRedisError, PortTaken) as error:
            raise StackError(str(error)) from None
        logged = log_size(home)
        stack = Stack(pid=launch(home, plan.parts, plan.environment, supervisor_lock(home)), **plan.addresses)
        write_stack(home, stack)
    try:
        _await_ready(stack, settings, home, logged, on_wait)
    except BaseException:
        stop(settings, stack)
        raise
    return stack


def stop(settings: Settings, stack: Stack) -> list[Orphan]:
    """Stops the parts in order and returns when all have ended. Nothing that was acknowledged is lost.

    Returns the parts that the supervisor had left behind. Raises `StackError` where they cannot be ended from here.
    """
    home = settings.home.absolute()
    lock = supervisor_lock(home)
    if holder(lock) == stack.pid and not is_here(stack.pid, lock):
        raise StackError(f"the stack on {home} runs on another machine, as process {stack.pid}: stop it there")
    end(stack.pid)
    with alone_on(home):
        ended = _end_what_is_left(home) if running_stack(settings) is None else []
        forget_stack(home, stack.pid)
    return ended


def stop_all(settings: Settings) -> tuple[bool, list[Orphan]]:
    """Stops the stack that runs on this home. Returns whether any did, and the parts that ran without a supervisor."""
    stack = running_stack(settings)
    if stack is not None:
        return True, stop(settings, stack)
    if not settings.home.exists():
        return False, []
    with alone_on(settings.home.absolute()):
        ended = _end_what_is_left(settings.home.absolute()) if running_stack(settings) is None else []
    return bool(ended), ended


def wait_for_end(stack: Stack) -> None:
    """Returns on SIGINT or SIGTERM, and when `tinycdp down` stopped the stack.

    Raises `StackError` when the supervisor ended in another way.
    """
    try:
        while is_alive(stack.pid):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    if not has_stopped(stack.pid):
        raise StackError("the supervisor ended by itself: see logs/supervisord.log under TINYCDP_HOME")


@contextmanager
def alone_on(home: Path) -> Iterator[None]:
    """Keeps every other `up` and `down` on this home waiting."""
    with _opened(home, "up.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _opened(home: Path, name: str) -> TextIO:
    try:
        return open(os.open(home / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w")
    except OSError as error:
        raise home_unusable(home, error) from None


def _end_what_is_left(home: Path) -> list[Orphan]:
    """Ends the parts that run on this home and belong to no stack that commands know. Raises `StackError`."""
    supervisor = holder(supervisor_lock(home))
    if supervisor is not None and is_here(supervisor, supervisor_lock(home)):
        end(supervisor)  # of an `up` that was killed before it wrote where its stack answers
    if is_supervised(home):
        raise StackError(
            f"a stack runs on {home} already, as process {supervisor} of another machine: stop it there, or set "
            "TINYCDP_HOME to another folder"
        )
    try:
        return end_orphans(home)
    except NotEnded as error:
        raise StackError(str(error)) from None


def _refuse_what_cannot_run(settings: Settings, home: Path) -> None:
    """Raises `StackError`, before anything starts, for what no waiting mends.

    A Redis or a lake that is away is not refused: it may come.
    """
    from lake.errors import LakeDamaged, LakeError
    from lake.lake import Lake
    from lake.storage import fixed
    from pipelines.lives import require_own_lake
    from serving.store.requirements import require_same
    from serving.store.store import Store

    root = settings.lake_uri or str(home / "lake")
    try:
        if settings.redis_url is not None:
            with Store(settings.redis_url, settings.shards, timeout_s=5) as store:
                store.require_durable(settings.durability)
                store.require_shards()
                require_own_lake(store, Lake(root))
        noted = fixed(root)
        for name, value in settings_fixed(settings).items():
            require_same(name, noted.get(name), value)
    except (NotAdmitted, NotDurable, OtherSetting, LakeDamaged) as error:
        raise StackError(str(error)) from None
    except (StoreError, LakeError):
        return


def _await_ready(stack: Stack, settings: Settings, home: Path, logged: int, on_wait: Callable[[str], None]) -> None:
    """Returns once the API, and Prefect and the console where they are parts, are well.

    `logged` are the bytes of Redis' log as it was before. Raises `StackError` for a Redis that cannot read its file,
    for events whose log is damaged, and after two minutes in which nothing was brought back from the lake: that takes
    as long as the lake is large.
    """
    started = time.monotonic()
    deadline, is_told, is_lake_looked_at = started + READY_S_MAX, False, False
    bad = {"api": "was not asked"}
    with Servers(stack, settings, ANSWER_S) as servers:
        while (now := time.monotonic()) < deadline:
            if not is_alive(stack.pid):
                raise StackError(f"the supervisor ended: {last_words(home)}")
            damage = damage_of(home, logged) if settings.redis_url is None else None
            if damage is not None:
                raise StackError(damage)
            bad = {name: trouble for name, trouble in servers.troubles().items() if trouble is not None}
            if not bad:
                return
            if not is_lake_looked_at and now - started >= TOLD_AFTER_S:
                is_lake_looked_at = True
                _refuse_damaged_events(stack.lake_uri)
                _refuse_other_lake(stack)
            if servers.recovering:
                deadline = now + READY_S_MAX
                if not is_told and now - started >= TOLD_AFTER_S:
                    left = f"{servers.recovering} of {stack.shards} shards are left"
                    on_wait(f"Redis is brought back from the lake, which may take minutes ({left}): `up` waits for it")
                    is_told = True
            time.sleep(0.1)
    said = "; ".join(f"{name} {trouble}" for name, trouble in bad.items())
    raise StackError(f"not ready after {time.monotonic() - started:.0f} s ({said[:300]}): see {home / 'logs'}")


def _refuse_other_lake(stack: Stack) -> None:
    """Raises `StackError` where the Redis of the stack belongs to another lake. An embedded one tells when it runs."""
    from lake.lake import Lake
    from pipelines.lives import require_own_lake
    from serving.store.store import Store

    with suppress(StoreError):
        try:
            with Store(stack.redis_url, stack.shards, timeout_s=ANSWER_S) as store:
                require_own_lake(store, Lake(stack.lake_uri))
        except OtherSetting as error:
            raise StackError(str(error)) from None


def _refuse_damaged_events(lake_uri: str) -> None:
    """Raises `StackError` where no waiting makes the table of events readable: without it Redis is not recovered.

    It takes a second to be looked at, so that is done for a stack alone that is not ready when most are.
    """
    from lake.errors import LakeDamaged, LakeError
    from lake.lake import Lake
    from lake.schemas import EVENTS

    with suppress(LakeError):  # one that is away may come
        lake = Lake(lake_uri)
        lake.reach()  # where there is none yet, none is made
        try:
            lake.require_whole_log(EVENTS)
        except LakeDamaged as error:
            raise StackError(str(error)) from None
