"""The formats of other tools that an import reads: `--format` as the terms of an import, and `tinycdp formats`."""

from __future__ import annotations

import typer

from pipelines.importing.chunk import ImportRefused
from pipelines.importing.formats.mapping import Mapping, formats, mapping_text, read_mapping


def format_of(name: str, said: dict[str, object]) -> Mapping:
    """The mapping of a format, or of a file of one. `said` are options about columns, which the mapping says instead.

    Raises `typer.BadParameter`.
    """
    twice = [option for option, value in said.items() if value]
    if twice:
        raise typer.BadParameter(
            "--format says it: leave it out, or change the format (tinycdp formats --help)", param_hint=", ".join(twice)
        )
    try:
        return read_mapping(name)
    except ImportRefused as error:
        raise typer.BadParameter(str(error), param_hint="--format") from None


def formats_body() -> dict[str, list[dict[str, str]]]:
    """The list of formats, for scripts."""
    return {"formats": [{"name": name, "about": read_mapping(name).about} for name in formats()]}


def formats_text() -> str:
    """The list of formats, for people: one a line."""
    listed = formats_body()["formats"]
    width = max(len(one["name"]) for one in listed)
    return "\n".join(f"{one['name']:{width}}  {one['about']}" for one in listed)


def format_text(name: str) -> str:
    """The file of a format. Raises `typer.BadParameter` where there is none of that name."""
    try:
        return mapping_text(name)
    except ImportRefused as error:
        raise typer.BadParameter(str(error), param_hint="NAME") from None
