"""What became of the rows of a file: counts, reasons with samples, and numbers that are inexact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from pipelines.importing.by_row import Inexact, Refused, merge_inexact

#: Reasons that are told apart, and samples of each. Rows of further reasons are counted together.
REASONS_MAX, SAMPLES_MAX = 100, 3
#: The reason under which rows of further reasons are counted.
OTHERS = "other reasons"
#: Characters of a row that a sample shows.
SAMPLE_CHARACTERS = 200


@dataclass(frozen=True)
class Sample:
    """A refused row: its line, why it is refused, and how it begins."""

    line: int
    reason: str
    row: str


@dataclass
class Reason:
    """Why rows were refused, how many, and the first of them."""

    reason: str
    rows: int = 0
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file: `accepted` are new, `already` were in the lake from an earlier run.

    `rejected` stay out, and `refused` says why. `inexact` names properties with whole numbers that no float holds.
    `read_as` says how the file was read, where it leaves that open.
    """

    accepted: int
    rejected: int
    already: int
    refused: list[Reason] = field(default_factory=list, compare=False)
    inexact: dict[str, Inexact] = field(default_factory=dict, compare=False)
    read_as: str = field(default="", compare=False)


class Tally:
    """Counts what becomes of rows, chunk by chunk."""

    def __init__(self) -> None:
        self.accepted = self.already = self.rejected = 0
        self._reasons: dict[str, Reason] = {}
        self._inexact: dict[str, Inexact] = {}

    def refuse(self, rows: Iterable[Refused]) -> None:
        """Counts refused rows."""
        for row in rows:
            self.rejected += 1
            group = row.group if row.group in self._reasons or len(self._reasons) < REASONS_MAX else OTHERS
            reason = self._reasons.setdefault(group, Reason(group))
            reason.rows += 1
            if len(reason.samples) < SAMPLES_MAX:
                reason.samples.append(Sample(row.line, row.reason, row_text(row.row)[:SAMPLE_CHARACTERS]))

    def note(self, inexact: Mapping[str, Inexact]) -> None:
        """Counts inexact numbers."""
        merge_inexact(self._inexact, inexact)

    def imported(self, read_as: str) -> Imported:
        """What became of all rows; the reasons with most rows first."""
        reasons = sorted(self._reasons.values(), key=lambda reason: (-reason.rows, reason.reason))
        return Imported(self.accepted, self.rejected, self.already, reasons, self._inexact, read_as)


def row_text(row: str | Mapping[str, Any]) -> str:
    """A row as text."""
    return row if isinstance(row, str) else msgspec.json.encode(row, enc_hook=str).decode()
