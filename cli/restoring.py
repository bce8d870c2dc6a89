"""The mark of a restore that is under way: a home that has it is not whole, and no stack and no part starts there."""

from __future__ import annotations

from pathlib import Path

FILE = "restoring"


class NotRestored(RuntimeError):
    """A restore into this home did not end; the message ends with the remedy."""


def begin(home: Path) -> None:
    """Marks a home."""
    (home / FILE).touch(mode=0o600)


def finish(home: Path) -> None:
    """Takes the mark away."""
    (home / FILE).unlink()


def require_restored(home: Path) -> None:
    """Raises `NotRestored` for a home that has the mark."""
    if (home / FILE).exists():
        raise NotRestored(
            f"a restore into {home} did not end, so what is there is not whole: remove that folder, and the lake if "
            "it is elsewhere and came from the backup, and run `tinycdp restore` again"
        )
