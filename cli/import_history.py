"""`tinycdp import`: history from a file into the lake, and the rebuild that makes it count."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from cli.connect import connect
from cli.rebuild import TookTooLong, await_rebuild
from cli.terminal import fail, progress_bar, say
from pipelines.importing.chunks import ImportRefused
from pipelines.importing.import_file import Imported, import_file
from pipelines.leases import writing


def import_history(
    file: Path,
    *,
    user_column: str,
    event_column: str,
    time_column: str,
    id_column: str | None = None,
    shift_to_now: bool = False,
    quiet: bool,
    as_json: bool,
) -> Imported:
    """What became of the rows, once they count; bars show how far it is.

    Raises `TookTooLong` where nobody rebuilds, after it said what is in the lake.
    """
    store, lake, settings = connect()
    with progress_bar(f"importing {file.name}", quiet) as on_progress, writing(store) as lease:
        try:
            imported = import_file(
                lake,
                file,
                user_column=user_column,
                event_column=event_column,
                time_column=time_column,
                id_column=id_column,
                shift_to_now=shift_to_now,
                now_ms=store.now_ms(),
                shards=settings.shards,
                progress=on_progress,
                before_commit=lease.require,
            )
        except ImportRefused as error:
            fail(str(error))
    try:
        with progress_bar("rebuilding", quiet):
            await_rebuild(store)
    except TookTooLong as error:
        say_imported(imported, as_json, rebuilt=False)
        raise TookTooLong(f"they are in the lake and not lost, but do not count yet: {error}") from None
    return imported


def say_imported(imported: Imported, as_json: bool, **more: bool) -> None:
    """Says what became of the rows; `more` goes into the JSON."""
    counts = f"{imported.accepted:,} events imported, {imported.rejected:,} rejected"
    say(asdict(imported) | more, f"{counts}, {imported.already:,} were there already", as_json)
