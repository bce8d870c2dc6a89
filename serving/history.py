"""The one door of serving to the lake: the history of definitions, and whether there is any history of events.

Called from threads, never from the event loop.
"""

from __future__ import annotations

import msgspec

from lake.errors import LakeError
from lake.lake import Lake
from serving.catalogue import Stored
from serving.refusals import Unavailable


class History:
    """The lake as serving sees it. Errors become refusals that say when to try again."""

    def __init__(self, lake_root: str) -> None:
        self._lake = Lake(lake_root)

    def append_definition(self, stored: Stored) -> None:
        """Adds a row to the history of definitions. Raises `Unavailable` while the lake is away."""
        try:
            self._lake.append_definition(msgspec.to_builtins(stored))
        except LakeError as error:
            raise Unavailable("the lake is away", {"remedy": "try again"}, retry_after_s=5) from error

    def holds_events(self) -> bool:
        """Whether any event is in the lake. Raises `Unavailable`."""
        try:
            return self._lake.holds_events()
        except LakeError as error:
            raise Unavailable("the lake is away", {"remedy": "try again"}, retry_after_s=5) from error
