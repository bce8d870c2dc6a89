"""The built file that the browser loads, named by the hash of its bytes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

#: The path of the editor's routes, below the path that the console is served under.
PATH = "/expression-editor"
FOLDER = Path(__file__).parent / "bundle"
SOURCE = Path(__file__).parent / "source"


@cache
def file_name() -> str:
    """The name of the built file, as `make editor` noted it."""
    return str(json.loads((FOLDER / "manifest.json").read_text("utf-8"))["file"])
