"""How a command reaches the stack: its settings, its Redis and its lake."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cli.terminal import AWAY, fail
from serving.settings import Settings, settings_of_environment

if TYPE_CHECKING:
    from lake.lake import Lake
    from serving.store.store import Store


def stack_settings() -> Settings:
    """The settings, completed by those of the stack that runs on this home; what the environment names comes first."""
    from cli.stack import environment_of, running_stack

    settings = settings_of_environment()
    stack = running_stack(settings)
    if stack is not None:
        for name, value in environment_of(stack).items():
            os.environ.setdefault(name, value)
        settings = settings_of_environment()
    return settings


def connect(*, to_examine: bool = False) -> tuple[Store, Lake, Settings]:
    """The store, the lake and the settings of the stack. Ends the command when no Redis is named.

    Raises `OtherLake` where Redis belongs to another lake, unless that is to be examined.
    """
    store, settings = connect_store()
    from lake.lake import Lake
    from pipelines.lives import require_own_lake

    lake = Lake(settings.lake_root)
    if not to_examine:
        require_own_lake(store, lake)
    return store, lake, settings


def connect_store() -> tuple[Store, Settings]:
    """The store and the settings, without the lake, whose packages take a third of a second to import.

    Ends the command when no Redis is named.
    """
    from cli.orphans import orphans, orphans_text
    from cli.redis_log import damage_of, is_embedded
    from cli.stack import running_stack
    from serving.store.errors import StoreUnreachable
    from serving.store.store import Store

    settings = stack_settings()
    if settings.redis_url is None:
        left = orphans(settings.home)
        if left:
            fail(
                f"the supervisor was killed and left behind: {orphans_text(left)}. End them with `tinycdp down`, or "
                "start anew with `tinycdp up`, which ends them first",
                AWAY,
            )
        fail("no stack runs here: start one with `tinycdp up`, or set TINYCDP_REDIS_URL", AWAY)
    store = Store(settings.redis_url, settings.shards)
    try:
        store.require_shards()
    except StoreUnreachable as error:
        stack = running_stack(settings)
        damage = damage_of(settings.home) if stack is not None and is_embedded(settings.home, stack) else None
        fail(damage or str(error), AWAY)
    return store, settings
