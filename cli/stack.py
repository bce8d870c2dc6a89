"""A running stack: where its parts answer, and how other commands find it.

`tinycdp up` writes the file `stack.json` under home; every other command reads it there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.orphans import supervisor_lock
from cli.process_lock import holder
from serving.access.secret_files import write_private
from serving.settings import Settings, home_closed

FILE = "stack.json"


@dataclass(frozen=True)
class Stack:
    """Where a running stack answers. `pid` is the supervisor's."""

    pid: int
    api_url: str
    redis_url: str
    lake_uri: str
    shards: int
    prefect_url: str | None
    console_url: str | None = None

    @property
    def health_urls(self) -> dict[str, str]:
        """Where the servers beside the API say that they are well."""
        urls = {"prefect": (self.prefect_url, "/api/health"), "console": (self.console_url, "/_stcore/health")}
        return {name: f"{url}{path}" for name, (url, path) in urls.items() if url is not None}


def running_stack(settings: Settings) -> Stack | None:
    """The stack that runs on this home, None where its supervisor has ended.

    Raises `WrongSettings` for a home that this user may not look into.
    """
    try:
        stack = Stack(**json.loads((settings.home / FILE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    except PermissionError as error:
        raise home_closed(settings.home, error) from None
    return stack if holder(supervisor_lock(settings.home)) == stack.pid else None


def write_stack(home: Path, stack: Stack) -> None:
    """Tells other commands of a stack. Only the owner reads the file: the address of a Redis may hold its password."""
    write_private(home / FILE, json.dumps(asdict(stack)))


def forget_stack(home: Path, pid: int) -> None:
    """Removes the file, unless it tells of another stack than that of this supervisor by now."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        if json.loads((home / FILE).read_text())["pid"] == pid:
            (home / FILE).unlink()


def environment_of(stack: Stack) -> Mapping[str, str]:
    """The environment variables that a command needs to reach a running stack."""
    return {
        "TINYCDP_REDIS_URL": stack.redis_url,
        "TINYCDP_LAKE_URI": stack.lake_uri,
        "TINYCDP_SHARDS": str(stack.shards),
    }


def addresses(stack: Stack, settings: Settings) -> dict[str, str | None]:
    """Where everything is, for scripts. There is no file of keys where all of them come from the environment."""
    keys_file = settings.home.absolute() / "keys.json"
    return {
        "api_url": stack.api_url,
        "prefect_url": stack.prefect_url,
        "console_url": stack.console_url,
        "redis_url": without_password(stack.redis_url),
        "lake_uri": stack.lake_uri,
        "keys_file": str(keys_file) if keys_file.exists() else None,
    }


def addresses_text(stack: Stack, settings: Settings) -> str:
    """Where everything is, for people."""
    lines = [f"API      {stack.api_url}  (try {stack.api_url}/health and /docs)"]
    if stack.console_url:
        lines.append(f"console  {stack.console_url}")
    if stack.prefect_url:
        lines.append(f"Prefect  {stack.prefect_url}")
    lines += [
        f"Redis    {without_password(stack.redis_url)}",
        f"lake     {stack.lake_uri}",
        f"keys     {settings.home / 'keys.json'}",
    ]
    return "\n".join(lines)


def without_password(url: str) -> str:
    """The address of a Redis without its password: whoever has that has all that is in the Redis."""
    return re.sub(r"(?<=://)([^/@]*):[^/@]*@", r"\1:…@", url)
