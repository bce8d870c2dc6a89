"""The files that a command names: files, patterns and folders, each file once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipelines.importing.chunk import ImportRefused
from pipelines.importing.chunks import is_known

#: Files of one command.
FILES_MAX = 100_000


def found_files(names: Sequence[str]) -> list[Path]:
    """The files of some names, in the order of the names, and of their paths where a name has several.

    A name of a file is that file. A folder has all files below it that the import reads by their endings; hidden ones,
    and what lies in hidden folders, are left out. Else it is a pattern (`*`, `?`, `[a-z]`, and `**` for folders at any
    depth), which shells without its file hand on as it is. A file that is found twice, by a link too, counts once.
    Raises `ImportRefused` where a name has no file.
    """
    found: dict[tuple[int, int], Path] = {}
    for name in names:
        is_empty = True
        for path in _of_name(name):
            is_empty = False
            status = path.stat()
            found.setdefault((status.st_dev, status.st_ino), path)
            if len(found) > FILES_MAX:
                raise ImportRefused(f"{name}: more than {FILES_MAX:,} files; import them in several commands")
        if is_empty:
            raise ImportRefused(_nothing(name))
    return list(found.values())


def _of_name(name: str) -> Iterable[Path]:
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _below(path)
    return sorted(one for one in map(Path, glob.iglob(name, recursive=True)) if one.is_file())


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for file in sorted(files):
            path = Path(here, file)
            if not file.startswith(".") and is_known(path) and path.is_file():
                yield path


def _refuse(error: OSError) -> None:
    raise ImportRefused(f"{error.filename} cannot be read: {error.strerror}") from None


def _nothing(name: str) -> str:
    if Path(name).is_dir():
        return f"{name} has no file to import: none is named .csv, .tsv, .parquet, .jsonl, .ndjson or .json"
    return f"{name} is not there: name a file, a folder, or a pattern that a file fits"
