"""`tinycdp import`: its options, its help and its exit code. The work is in `cli.import_history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.terminal import WRONG, Json, err


def import_(
    file: Annotated[
        list[str],
        typer.Argument(
            help="CSV, Parquet or JSONL files, packed by gzip or zstd; folders of these; patterns, as 'logs/*.csv'."
        ),
    ],
    user: Annotated[str | None, typer.Option(help="The column of the user id.")] = None,
    event: Annotated[str | None, typer.Option(help="The column of the event name.")] = None,
    time: Annotated[str | None, typer.Option(help="The column of the time.")] = None,
    id: Annotated[
        str | None,
        typer.Option("--id", help="The column of the event id. Without it a row is known by all of its values."),
    ] = None,
    anonymous: Annotated[
        str | None, typer.Option(help="The column of the device's id, beside or without --user.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="The column of the kind: track, identify, page, screen, group or alias."),
    ] = None,
    properties: Annotated[
        str | None, typer.Option(help="The column of all properties, as a JSON object. Other columns are left out.")
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", help="A column of the profile, which an identify sets. Repeatable."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(help="The tool that wrote the file (tinycdp formats), or a file of your own, as mine.toml."),
    ] = None,
    table: Annotated[
        str, typer.Option(help="The table that the rows are of, where --format asks, and the file is not named so.")
    ] = "",
    text: Annotated[
        list[str] | None, typer.Option("--text", help="Keep this column as text, with all its digits. Repeatable.")
    ] = None,
    number: Annotated[
        list[str] | None, typer.Option("--number", help="Read this column as numbers, 007 as 7. Repeatable.")
    ] = None,
    time_unit: Annotated[
        str | None, typer.Option("--time-unit", help="What whole numbers of the time count: s, ms, us or ns.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="The encoding of a text that is not UTF-8 and says no other, such as cp1252.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="What separates the cells of a CSV. Without it comma, ;, tab and | are found.")
    ] = None,
    quotes: Annotated[
        bool, typer.Option("--quotes/--no-quotes", help="Whether quotes stand around cells of a CSV, or mean nothing.")
    ] = True,
    source: Annotated[
        str,
        typer.Option(help="Where the rows come from. Equal rows without ids of two sources are two events."),
    ] = "",
    shift_to_now: Annotated[
        bool, typer.Option("--shift-to-now", help="Move all times by as much, so that the newest is now.")
    ] = False,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Write nothing: say what would go in, and what would be refused.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the refused rows into this file, whole, as JSON lines.")
    ] = None,
    allow_rejects: Annotated[
        bool, typer.Option("--allow-rejects", help="End with 0 where rows were refused, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Load history from files into the lake, and wait until it counts. The same import again adds nothing.

    --user, --event and --time name columns; --format names the tool that wrote the file instead. Without these a file
    of JSON lines has events as POST /v1/batch takes them, of all kinds. With --attribute and without --event each row
    sets attributes of a profile. A row that cannot be read is refused with its line and the reason, and all others go
    in. The exit code is 1 where a row was refused.
    """
    from cli.formats import format_of
    from cli.import_history import FileMapping, import_history, say_imported, withheld_hint
    from pipelines.importing.chunk import ImportRefused
    from pipelines.importing.chunks import is_jsonl
    from pipelines.importing.found_files import found_files
    from pipelines.importing.terms import TIME_UNITS, Reading

    try:
        files = found_files(file)
    except ImportRefused as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from None
    if rejects is not None and rejects.exists() and any(rejects.samefile(one) for one in files):
        raise typer.BadParameter("it is a file that is imported: name another one", param_hint="--rejects")
    of_columns = (("--text", text), ("--number", number), ("--time-unit", time_unit))
    are_bodies = any((anonymous, kind, properties, attribute))
    mapping = None
    if format is not None:
        columns = (("--user", user), ("--anonymous", anonymous), ("--event", event), ("--time", time), ("--id", id))
        others = (("--kind", kind), ("--properties", properties), ("--attribute", attribute))
        mapping = format_of(format, dict((*columns, *others, *of_columns)))
    elif table:
        raise typer.BadParameter("only a --format asks for it: leave it out", param_hint="--table")
    named = (
        ("--user", user or anonymous),
        # without an event each row is an identify, where a column has attributes
        ("--event", event or kind or (attribute if not properties else None)),
        ("--time", time),
    )
    missing = [name for name, column in named if not column]
    are_sent = len(missing) == 3 and id is None and not are_bodies and all(map(is_jsonl, files))
    as_sent = mapping is not None or are_sent
    if missing and not as_sent:
        raise typer.BadParameter(
            "name the column; only events as apps send them, as JSON lines, need none of these",
            param_hint=", ".join(missing),
        )
    if attribute and event and not kind:
        raise typer.BadParameter(
            "a row is one event, and an identify alone sets attributes: name the column of kinds by --kind, or import "
            "the attributes by themselves, without --event",
            param_hint="--attribute",
        )

    if as_sent and any(said for _, said in of_columns):
        raise typer.BadParameter(
            "it is about columns, which events as apps send them do not have: leave it out",
            param_hint=", ".join(name for name, said in of_columns if said),
        )
    unit = next((one for one in TIME_UNITS if one == time_unit), None)
    if time_unit is not None and unit is None:
        raise typer.BadParameter(f"{time_unit!r}: use {', '.join(TIME_UNITS)}", param_hint="--time-unit")
    reading = Reading(encoding, delimiter, quotes, unit, frozenset(text or ()), frozenset(number or ()), as_sent)
    if mapping is not None:
        reading = mapping.reading(reading, table)
    said = FileMapping(user, event, time, id, reading, source, anonymous, kind, properties, tuple(attribute or ()))
    imported = import_history(
        files,
        said,
        shift_to_now=shift_to_now,
        is_dry=is_dry,
        rejects=rejects,
        quiet=as_json,
        as_json=as_json,
    )
    say_imported(imported, as_json)
    hint = withheld_hint(said, imported)
    if hint:
        err.print(hint, markup=False, soft_wrap=True)
    if imported.rejected and not allow_rejects:
        raise SystemExit(WRONG)
