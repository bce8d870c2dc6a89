"""The terms of one import: which column says what, how values are read, and facts that hold for all of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from pipelines.importing.formats.mapping import Mapping

#: What whole numbers of a column of times count.
TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]
TIME_UNITS: tuple[TimeUnit, ...] = get_args(TimeUnit)


@dataclass(frozen=True)
class Columns:
    """The names of the columns that say who, what and when, and that have the event's id; all others become properties.

    Rows that name devices (`anonymous`) or the `kind` of their event, have all `properties` in a column of JSON, or say
    `attributes`, become events as an app sends them (`are_bodies`). Of these, `user` and `event` may be empty: no
    column says it.

    Part of what names an import is the `repr` of this class: with another a rerun would add its rows again.
    """

    user: str
    event: str
    time: str
    id: str | None = None
    anonymous: str | None = field(default=None, repr=False)
    kind: str | None = field(default=None, repr=False)
    properties: str | None = field(default=None, repr=False)
    attributes: tuple[str, ...] = field(default=(), repr=False)

    @property
    def are_bodies(self) -> bool:
        """Whether rows become events as an app sends them."""
        return any((self.anonymous, self.kind, self.properties, self.attributes))

    @property
    def read_for(self) -> str:
        """What rows are read for: the column of the event; without one the attributes that each row sets.

        One file may hold both, and events in several columns: each command makes other events of its rows.
        """
        if self.event or self.kind:
            return f"event:{self.event}"
        return f"attributes:{sorted(self.attributes)!r}"

    def required(self) -> list[str]:
        """The columns that a file must have."""
        return [*(name for name in self._named if name), *self.attributes]

    @cached_property
    def own(self) -> frozenset[str | None]:
        """The columns that are no properties."""
        return frozenset((*self._named, *self.attributes))

    @property
    def _named(self) -> tuple[str | None, ...]:
        return self.user, self.event, self.time, self.id, self.anonymous, self.kind, self.properties


#: Where an event as an app sends it says so itself.
AS_SENT = Columns("userId", "event", "timestamp", "messageId")


@dataclass(frozen=True)
class Reading:
    """How a file is read where it does not say so itself.

    `encoding` of a text without a byte order mark, UTF-8 if None. `delimiter` of a CSV, found if None. `has_quotes`: a
    quote begins and ends a cell. `time_unit`: what whole numbers of the column of times count. `text` and `number` are
    columns of properties that are taken as such whatever their values look like. `as_sent`: rows are events as an app
    sends them, or become such by `mapping`, as records of its `table`. `names` are those of a CSV without a heading.
    """

    encoding: str | None = None
    delimiter: str | None = None
    has_quotes: bool = True
    time_unit: TimeUnit | None = None
    text: frozenset[str] = frozenset()
    number: frozenset[str] = frozenset()
    as_sent: bool = False
    mapping: Mapping | None = None
    table: str = ""
    names: tuple[str, ...] = ()

    def identity(self) -> bytes:
        """Names what differs from the usual way to read a file; empty for the usual way."""
        if self == Reading():
            return b""
        said = (self.encoding, self.delimiter, self.has_quotes, self.time_unit, sorted(self.text), sorted(self.number))
        of_format = () if self.mapping is None else (self.mapping.digest, self.table, self.names)
        return repr((*said, self.as_sent, *of_format)).encode()


@dataclass(frozen=True)
class Terms:
    """Facts that hold for all rows of an import.

    `identity` names the file and how it is read. `shift_ms` is added to all times. `now_ms` is the receipt of all rows,
    and no event is later. `made_ids` gives the ids of events, by their lines, that have none of their own. `import_id`
    is the import's, None where nobody notes it.
    """

    columns: Columns
    identity: str
    shift_ms: int
    now_ms: int
    shards: int
    reading: Reading
    made_ids: Callable[[Iterable[int]], list[str]]
    import_id: str | None = None

    def event_id(self, line: int) -> str:
        """The id of the event in a line that gives none: the same in every run."""
        return self.made_ids([line])[0]

    def event_ids(self, lines: Iterable[int]) -> list[str]:
        """Those of several lines."""
        return self.made_ids(lines)

    @cached_property
    def ingest_date(self) -> date:
        """The day of the receipt."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC).date()


def identity_of(
    path: Path,
    columns: Columns,
    shift_to_now: bool,
    rows_at_once: int,
    reading: Reading | None = None,
    source: str = "",
) -> str:
    """Names a file of a source read in this way, by its content: a copy under another name has the same identity."""
    digest = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    digest.update(repr((columns, shift_to_now, rows_at_once)).encode())
    if columns.are_bodies:
        further = (columns.anonymous, columns.kind, columns.properties, columns.attributes)
        digest.update(f"bodies:{further!r}".encode())
    digest.update((reading or Reading()).identity())
    if source:
        digest.update(f"source:{source}".encode())
    return digest.hexdigest()
