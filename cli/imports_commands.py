"""`tinycdp imports` and `tinycdp imports cancel`: their options, their help and their exit codes."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.connect import connect
from cli.terminal import Json, fail, say

imports = typer.Typer(invoke_without_command=True)


@imports.callback()
def list_imports(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to list, the newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the imports of history: their files, when, by whom, and what became of their rows."""
    if context.invoked_subcommand is not None:
        return
    from cli.imports import imports_body, imports_text
    from pipelines.importing.noted_imports import noted_imports

    _, lake, _ = connect()
    noted = noted_imports(lake, limit)
    say(imports_body(noted), imports_text(noted), as_json)


@imports.command()
def cancel(
    id: Annotated[str, typer.Argument(help="The id of the import, as the list has it.")],
    as_json: Json = False,
) -> None:
    """Stop an import that is under way. Its rows that are in stay; the same import brings the others."""
    from pipelines.importing.noted_imports import NotCancelled, cancel_import

    _, lake, _ = connect()
    try:
        cancel_import(lake, id)
    except NotCancelled as error:
        fail(str(error))
    say({"id": id, "state": "cancelled"}, f"{id} is cancelled: it stops after the rows that it is at", as_json)


@imports.command()
def undo(
    id: Annotated[str, typer.Argument(help="The id of the import, as the list has it.")],
    with_dependents: Annotated[
        bool, typer.Option("--with-dependents", help="Undo the imports that relied on its rows, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take an import out everywhere. Events go on being taken; its files can be imported again."""
    from pipelines.undo import NotUndone, undo_import

    store, lake, settings = connect()
    try:
        undone = undo_import(store, lake, settings, id, with_dependents=with_dependents)
    except NotUndone as error:
        fail(str(error))
    others = f", and with it {', '.join(undone.ids[1:])}" if undone.ids[1:] else ""
    lines = [f"{id} is undone{others}: {undone.rows:,} rows are out of the lake, and nothing counts them any more"]
    if undone.claims:
        lines.append(
            f"{undone.claims:,} of them said that ids belong together. These links stay: docs/identity.md says how to "
            "take one back"
        )
    say({"id": id, "undone": undone.ids, "rows": undone.rows, "claims": undone.claims}, "\n".join(lines), as_json)
