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
