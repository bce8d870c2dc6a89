"""Starts an export, and shows it where exports are."""

from __future__ import annotations

from typing import NoReturn

from dashboard.access import signed_in
from dashboard.answers import forget
from dashboard.navigation import go


def start_export(segment: str) -> NoReturn:
    """Starts the export of a segment's members and leaves for the screen that shows how far it is."""
    export = signed_in().admin.start_export(segment)
    forget()
    go("exports", id=export["id"])
