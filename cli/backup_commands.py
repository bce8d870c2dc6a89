"""The commands `tinycdp backup` and `tinycdp restore`: their options, their help and what they print."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Annotated

import typer

from cli.connect import connect
from cli.terminal import Json, fail, progress_bar, say
from serving.settings import settings_of_environment


def backup(
    folder: Annotated[Path, typer.Argument(help="The folder for the copy: empty, or not there yet.")],
    no_lake: Annotated[
        bool, typer.Option("--no-lake", help="Leave the lake out. Let its store copy it, after this command.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Copy the running stack into a folder: Redis, the lake, keys and settings. Nothing stops meanwhile.

    All that was acknowledged before is in the copy. It holds people and keys, so only its owner may read it.
    """
    from cli.backup import BackupError, back_up

    store, lake, settings = connect()
    os.umask(0o077)
    with progress_bar("files", as_json) as bar:
        count = itertools.count(1)
        try:
            made = back_up(
                store, lake, settings, folder, with_lake=not no_lake, on_file=lambda _: bar(next(count), None)
            )
        except BackupError as error:
            fail(str(error))
    body = {"folder": str(folder.absolute()), "at": made.at, "files": len(made.files), "bytes": made.size}
    text = f"{len(made.files):,} files, {made.size / 2**20:,.1f} MiB, as of {made.at}, in {folder}"
    say(body | {"redis": made.redis is not None, "lake": made.has_lake}, text, as_json)


def restore(
    folder: Annotated[Path, typer.Argument(help="The folder that `tinycdp backup` wrote.")], as_json: Json = False
) -> None:
    """Put a backup into an empty TINYCDP_HOME, and start nothing: `tinycdp up` does that.

    A backup without a lake needs the lake in its place first. One that is older than the backup's Redis is refused.
    """
    from cli.backup import BackupError
    from cli.redis_server import EmbeddedRedisError
    from cli.restore import restore as put_back
    from cli.restoring import NotRestored
    from lake.errors import LakeBehind

    settings = settings_of_environment()
    with progress_bar("files", as_json) as bar:
        count = itertools.count(1)
        try:
            restored = put_back(settings, folder, on_file=lambda _: bar(next(count), None))
        except (BackupError, EmbeddedRedisError, LakeBehind, NotRestored) as error:
            fail(str(error))
    made = restored.backup
    body = {"at": made.at, "home": str(settings.home.absolute()), "redis": restored.has_redis, "lake": made.has_lake}
    lines = [f"restored {settings.home} as of {made.at}: start it with `tinycdp up`"]
    if not restored.has_redis:
        lines.append("Redis is not of this backup: begin with an empty one")
    say(body, "\n".join(lines), as_json)
