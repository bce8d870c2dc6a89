"""What became of the rows of a file: counts, reasons with samples, and numbers that are inexact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from pipelines.importing.made import Inexact, Refused, merge_inexact

#: Reasons that are told apart, and samples of each. Rows of further reasons are counted together.
REASONS_MAX, SAMPLES_MAX = 100, 3
#: The reason under which rows of further reasons are counted.
OTHERS = "other reasons"
#: Names of events, and of properties, that a preview counts one by one. Events of further names are counted together,
#: further properties are left out.
NAMES_MAX, OTHER_NAMES = 1_000, "other names"
#: Characters of a row that a sample shows.
SAMPLE_CHARACTERS = 200


@dataclass(frozen=True)
class Sample:
    """A refused row: its line, why it is refused, how it begins, and its file where a command has several."""

    line: int
    reason: str
    row: str
    file: str = ""


@dataclass
class Reason:
    """Why rows were refused, how many, and the first of them."""

    reason: str
    rows: int = 0
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class Moment:
    """Whose event it is, its name (of an event without one its kind), and its time, UTC ms."""

    id: str
    event: str
    ts_ms: int


@dataclass
class Preview:
    """What would go in: events by kind and name, properties by kind of value with how many have it, and the first and
    last time, UTC ms.

    `at_known_times` rows have user, event and time of another row of the lake; `at_known_times_samples` are the first.
    """

    events: Counter[str] = field(default_factory=Counter)
    properties: dict[str, Counter[str]] = field(default_factory=dict)
    first_ms: int | None = None
    last_ms: int | None = None
    at_known_times: int = 0
    at_known_times_samples: list[Moment] = field(default_factory=list)

    def add_at_known_times(self, rows: pa.Table) -> None:
        """Counts rows of `events` that have user, event and time of another row of the lake."""
        self.at_known_times += len(rows)
        first = rows.slice(0, SAMPLES_MAX - len(self.at_known_times_samples))
        self.at_known_times_samples += [
            Moment(row["id"], row["name"] or row["kind"], row["original_ts"])
            for row in first.select(["id", "name", "kind", "original_ts"]).to_pylist()
        ]

    def add(self, rows: pa.Table) -> None:
        """Looks at some rows of `events`."""
        if not len(rows):
            return
        frame = pl.DataFrame(pl.from_arrow(rows.select(["kind", "name", "original_ts"])))
        title = pl.when(pl.col("kind") == "track").then("name").otherwise("kind").alias("title")
        for name, count in frame.group_by(title).len().iter_rows():
            _count(self.events, name, count)
        first_ms, last_ms = frame["original_ts"].min(), frame["original_ts"].max()
        assert isinstance(first_ms, int) and isinstance(last_ms, int)
        self.first_ms = first_ms if self.first_ms is None else min(self.first_ms, first_ms)
        self.last_ms = last_ms if self.last_ms is None else max(self.last_ms, last_ms)
        maps = rows["props"].combine_chunks()
        entries = pl.DataFrame(pl.from_arrow(pa.table({"key": maps.keys, "value": maps.items})))
        value = pl.col("value").struct
        kinds = ("number", "string", "boolean", "json")
        counts = entries.group_by("key").agg(*(value.field(kind).count().alias(kind) for kind in kinds))
        for row in counts.iter_rows(named=True):
            if row["key"] in self.properties or len(self.properties) < NAMES_MAX:
                known = self.properties.setdefault(row["key"], Counter())
                known.update({kind: row[kind] for kind in kinds if row[kind]})


def _count(counts: Counter[str], name: str, count: int) -> None:
    """Counts a name; those beyond `NAMES_MAX` together."""
    counts[name if name in counts or len(counts) < NAMES_MAX else OTHER_NAMES] += count


@dataclass(frozen=True)
class Imported:
    """What became of the rows of a file: `accepted` are new, `already` were in the lake from an earlier run.

    `rejected` stay out, and `refused` says why. `inexact` names properties with whole numbers that no float holds.
    `read_as` says how the file was read, where it leaves that open. `preview` of a dry run says what would go in;
    `accepted` then would. `id` is the import's in the list of imports, None where it is not noted there.
    `relied_on` are the imports that had rows in the lake when rows of this one were withheld.
    """

    accepted: int
    rejected: int
    already: int
    refused: list[Reason] = field(default_factory=list, compare=False)
    inexact: dict[str, Inexact] = field(default_factory=dict, compare=False)
    read_as: str = field(default="", compare=False)
    preview: Preview | None = field(default=None, compare=False)
    id: str | None = field(default=None, compare=False)
    relied_on: list[str] = field(default_factory=list, compare=False)


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
                reason.samples.append(Sample(row.line, row.reason, row.text[:SAMPLE_CHARACTERS], row.file))

    def note(self, inexact: Mapping[str, Inexact]) -> None:
        """Counts inexact numbers; properties beyond `NAMES_MAX` are left out."""
        for name, one in inexact.items():
            if name in self._inexact or len(self._inexact) < NAMES_MAX:
                merge_inexact(self._inexact, {name: one})

    def imported(
        self, read_as: str, preview: Preview | None = None, id: str | None = None, known: Iterable[str] = ()
    ) -> Imported:
        """What became of all rows; the reasons with most rows first. `known` are the imports with rows in the lake."""
        reasons = sorted(self._reasons.values(), key=lambda reason: (-reason.rows, reason.reason))
        relied_on = sorted({*known} - {id}) if self.already else []
        return Imported(
            self.accepted, self.rejected, self.already, reasons, self._inexact, read_as, preview, id, relied_on
        )
