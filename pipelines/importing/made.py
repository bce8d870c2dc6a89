"""What is made of the rows of a chunk: events, refusals, and numbers that are inexact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pyarrow as pa

from pipelines.importing.chunk import Fault
from serving.refusals import Invalid, cut
from serving.store.logged_event import LogEntry

#: Bytes of a refused row that are kept in the lake.
REFUSED_BYTES = 4_096


@dataclass(frozen=True)
class Refused:
    """A row that stays out. `group` is the reason without what is true of this row alone; `row` is all of it: the text
    of a row that cannot be read, else its values by column. `file` is named where a command has several.
    """

    line: int
    group: str
    reason: str
    row: str | dict[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""

    @classmethod
    def by_fault(cls, line: int, fault: Fault) -> Refused:
        """A row that cannot be read."""
        reason = f"{fault.reason}; {fault.detail}" if fault.detail else fault.reason
        return cls(line, fault.reason, reason, fault.text, {"field": "row", "remedy": fault.reason})

    @classmethod
    def by_refusal(cls, line: int, refusal: Invalid, row: dict[str, Any]) -> Refused:
        """A row whose values are refused."""
        details = refusal.details or {}
        of_field, remedy = details.get("field"), details.get("remedy")
        group = f"{of_field}: {remedy}" if of_field and remedy else refusal.message
        return cls(line, cut(group), refusal.message, row, details)

    @property
    def text(self) -> str:
        """The row as text: what cannot be read as it stands, else its values as JSON."""
        return self.row if isinstance(self.row, str) else msgspec.json.encode(self.row, enc_hook=str).decode()

    def stored(self) -> dict[str, Any]:
        """The row of the lake's table `rejected`, without what is true of all rows of an import.

        It has no `is_cut`, so that nobody offers to send it again: an app did not send it.
        """
        kept = self.text.encode()[:REFUSED_BYTES]
        return {
            "line": self.line,
            "code": Invalid.code,
            "reason": self.reason,
            "event": kept.decode("utf-8", "ignore"),
            "field": self.details.get("field"),
            "remedy": self.details.get("remedy"),
        }


@dataclass
class Inexact:
    """Whole numbers of a property that no float holds: how many, and the first of them."""

    count: int
    line: int
    value: str


@dataclass(frozen=True)
class Made:
    """What became of the rows of a chunk: rows of `events`, the refused, and numbers that are inexact, by property.

    `claiming` are the events that say of ids that they belong together.
    """

    events: pa.Table
    refused: list[Refused]
    inexact: dict[str, Inexact]
    claiming: list[LogEntry] = field(default_factory=list)


def merge_inexact(into: dict[str, Inexact], more: Mapping[str, Inexact]) -> None:
    """Adds what later rows have to what earlier rows have."""
    for name, other in more.items():
        mine = into.get(name)
        if mine is None:
            into[name] = Inexact(other.count, other.line, other.value)
        else:
            mine.count += other.count
            if other.line < mine.line:
                mine.line, mine.value = other.line, other.value
