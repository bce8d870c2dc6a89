"""`tinycdp import`: history from a file into the lake, and the rebuild that makes it count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from cli.connect import connect
from cli.rebuild import TookTooLong, await_rebuild
from cli.terminal import fail, one_line, progress_bar, say
from pipelines.importing.chunk import ImportRefused
from pipelines.importing.import_file import import_file
from pipelines.importing.made import Refused
from pipelines.importing.noted_imports import ImportCancelled, Note
from pipelines.importing.report import Imported, Preview
from pipelines.importing.terms import AS_SENT, Reading
from pipelines.leases import writing
from serving.people.links import complete_links
from serving.times import rfc3339

#: Reasons that are printed; `--json` has more.
REASONS_SHOWN = 10
#: Names of events, and of properties, of a dry run that are printed.
NAMES_SHOWN = 30
#: Names of files that the list of imports has of one.
FILES_NOTED = 100
KINDS = {"json": "list or object"}


@dataclass(frozen=True)
class FileMapping:
    """What the command says of a file: the columns, how they are read, and where rows come from. Events as apps send
    them need no columns.
    """

    user: str | None = None
    event: str | None = None
    time: str | None = None
    id: str | None = None
    reading: Reading = field(default_factory=Reading)
    source: str = ""
    anonymous: str | None = None
    kind: str | None = None
    properties: str | None = None
    attributes: tuple[str, ...] = ()

    @property
    def are_bodies(self) -> bool:
        """Whether rows become events as apps send them, so that `user` and `event` may be missing."""
        return any((self.anonymous, self.kind, self.properties, self.attributes))


def import_history(
    files: Sequence[Path],
    mapping: FileMapping,
    *,
    shift_to_now: bool = False,
    is_dry: bool = False,
    rejects: Path | None = None,
    quiet: bool,
    as_json: bool,
) -> Imported:
    """What became of the rows, once they count; bars show how far it is.

    `rejects` gets the refused rows. `is_dry`: nothing is written, and nothing rebuilt. Raises `TookTooLong` where
    nobody rebuilds, after it said what is in the lake.
    """
    store, lake, settings = connect()
    with (
        progress_bar(f"importing {_named(files)}", quiet) as on_progress,
        nullcontext() if is_dry else writing(store) as lease,
        _kept(rejects, files, mapping) as on_refused,
    ):
        now_ms = store.now_ms()
        note = Note(lake, _noted(files), _as_json(mapping), mapping.source, now_ms)

        def before_commit() -> None:
            if lease is not None:
                lease.require()

        def begin(identities: list[str]) -> str:
            before_commit()
            return note.begin(identities)

        def after_chunk(done: int, total: int | None) -> None:
            on_progress(done, total)
            if not is_dry:
                note.require_going()

        try:
            imported = import_file(
                lake,
                files,
                user_column=mapping.user or ("" if mapping.are_bodies else AS_SENT.user),
                event_column=mapping.event or ("" if mapping.are_bodies else AS_SENT.event),
                time_column=mapping.time or AS_SENT.time,
                id_column=mapping.id,
                anonymous_column=mapping.anonymous,
                kind_column=mapping.kind,
                properties_column=mapping.properties,
                attribute_columns=mapping.attributes,
                shift_to_now=shift_to_now,
                reading=mapping.reading,
                source=mapping.source,
                is_dry=is_dry,
                now_ms=now_ms,
                shards=settings.shards,
                progress=after_chunk,
                begin=begin,
                before_commit=before_commit,
                on_refused=on_refused,
                link=lambda events: store.follow(complete_links(store.operations, events)),
            )
        except ImportRefused as error:
            fail(str(error))
        except ImportCancelled as error:
            fail(
                f"the import {error} was cancelled. Its rows that are in stay, and count from the next rebuild on "
                "(tinycdp rebuild); the same command brings the others"
            )
        if not is_dry:
            note.end(imported)
    if is_dry:
        return imported
    try:
        with progress_bar("rebuilding", quiet):
            await_rebuild(store)
    except TookTooLong as error:
        say_imported(imported, as_json, rebuilt=False)
        raise TookTooLong(f"they are in the lake and not lost, but do not count yet: {error}") from None
    return imported


@contextmanager
def _kept(rejects: Path | None, files: Sequence[Path], mapping: FileMapping) -> Iterator[Any]:
    """Takes refused rows into a file of JSON lines: first what the file is and how it was read, then a row a line."""
    if rejects is None:
        yield lambda rows: None
        return
    try:
        written: BinaryIO = open(rejects, "wb")  # noqa: SIM115  it is closed below
    except OSError as error:
        fail(f"{rejects} cannot be written: {error}")
    with written:

        def write(line: Mapping[str, Any]) -> None:
            written.write(msgspec.json.encode(line, enc_hook=str) + b"\n")

        write({"file": _named(files), "mapping": _as_json(mapping)})

        def keep(rows: Iterable[Refused]) -> None:
            for row in rows:
                whole = {"text": row.row} if isinstance(row.row, str) else {"row": row.row}
                of_file = {"file": row.file} if row.file else {}
                write({**of_file, "line": row.line, "reason": row.reason, **whole})

        yield keep


def _named(files: Sequence[Path]) -> str:
    return files[0].name if len(files) == 1 else f"{len(files):,} files"


def _noted(files: Sequence[Path]) -> list[str]:
    """The names of files for the list of imports, which has so many."""
    names = [file.name for file in files[:FILES_NOTED]]
    more = len(files) - len(names)
    return [*names, f"and {more:,} more"] if more else names


def _as_json(mapping: FileMapping) -> dict[str, Any]:
    reading = mapping.reading
    said = {
        "user": mapping.user,
        "event": mapping.event,
        "time": mapping.time,
        "id": mapping.id,
        "anonymous": mapping.anonymous,
        "kind": mapping.kind,
        "properties": mapping.properties,
        "attributes": list(mapping.attributes),
        "encoding": reading.encoding,
        "delimiter": reading.delimiter,
        "time_unit": reading.time_unit,
        "text": sorted(reading.text),
        "number": sorted(reading.number),
        "quotes": reading.has_quotes,
        "source": mapping.source,
        "format": None if reading.mapping is None else reading.mapping.name,
        "table": reading.table,
    }
    return {name: value for name, value in said.items() if value not in (None, [], "")}


def withheld_hint(mapping: FileMapping, imported: Imported) -> str | None:
    """What to try where a file has events and attributes in its rows, under one column of ids: the attributes of an
    event that is there are withheld. None where that cannot be why rows are.
    """
    if mapping.id is None or not mapping.attributes or mapping.event or not imported.already:
        return None
    return (
        f"hint: {imported.already:,} rows have an id in {mapping.id} that is there already. If it is the id of events "
        "that another command brought from these rows, their attributes did not go in: leave --id out here"
    )


def say_imported(imported: Imported, as_json: bool, **more: bool) -> None:
    """Says what became of the rows; `more` goes into the JSON."""
    preview = imported.preview
    would = "events imported" if preview is None else "events would be imported"
    lines = [f"{imported.accepted:,} {would}, {imported.rejected:,} rejected, {imported.already:,} were there already"]
    if imported.read_as:
        lines.append(f"read as {imported.read_as}")
    if imported.id is not None:
        lines.append(f"the import is {imported.id} of tinycdp imports")
    if preview is not None:
        lines += _preview_lines(preview)
    for reason in imported.refused[:REASONS_SHOWN]:
        lines.append(f"{reason.rows:>9,}  {one_line(reason.reason)}")
        for sample in reason.samples:
            place = f" of {one_line(sample.file)}" if sample.file else ""
            lines.append(f"           line {sample.line}{place}: {one_line(sample.reason)}")
            lines.append(f"             {one_line(sample.row)}")
    if len(imported.refused) > REASONS_SHOWN:
        lines.append(f"           and {len(imported.refused) - REASONS_SHOWN} reasons more: --json tells them")
    for name, inexact in imported.inexact.items():
        lines.append(
            f"warning: {one_line(name)} has {inexact.count:,} whole numbers from 2^53 on, where numbers have gaps, the "
            f"first in line {inexact.line}: {inexact.value}; text keeps their digits, of a column by --text"
        )
    body = msgspec.to_builtins(imported) | more  # `asdict` counts the entries of a Counter
    if preview is None:
        del body["preview"]
    say(body, "\n".join(lines), as_json)


def _preview_lines(preview: Preview) -> list[str]:
    """What would go in, for people."""
    lines = []
    if preview.first_ms is not None and preview.last_ms is not None:
        lines.append(f"from {rfc3339(preview.first_ms)} to {rfc3339(preview.last_ms)}")
    lines += [f"{count:>9,}  event {one_line(name)}" for name, count in preview.events.most_common(NAMES_SHOWN)]
    for name, kinds in sorted(preview.properties.items())[:NAMES_SHOWN]:
        said = ", ".join(f"{count:,} {KINDS.get(kind, kind)}" for kind, count in kinds.most_common())
        lines.append(f"           property {one_line(name)}: {said}")
    if max(len(preview.events), len(preview.properties)) > NAMES_SHOWN:
        lines.append("           and more: --json tells them")
    if preview.at_known_times:
        lines.append(
            f"warning: {preview.at_known_times:,} of them have user, event and time of an event that is there, and "
            "other values or another source. They would count beside it: are they the same events?"
        )
        lines += [
            f"           {one_line(moment.id)}: {one_line(moment.event)}, {rfc3339(moment.ts_ms)}"
            for moment in preview.at_known_times_samples
        ]
    return lines
