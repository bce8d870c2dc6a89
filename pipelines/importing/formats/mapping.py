"""A mapping: a short file of TOML that says which part of a record is which part of an event.

    [event]     what each record becomes
    [[rule]]    says other things of the records that it fits, in order
    [[also]]    a further event of the records that it fits
    [file]      how the file is read where it does not say so itself
    like        a format that is here: what it says counts too, before the file's own

`docs/import.md` has all keys. What a file says is checked here, so that a record meets no surprise.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from collections.abc import Mapping as Of
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import available_timezones

from pipelines.importing.chunk import ImportRefused
from pipelines.importing.formats.places import Casts
from pipelines.importing.terms import TIME_UNITS, Reading, TimeUnit
from serving.ingest.accept import EVENT_KINDS

#: What is said of an event by one value, and the field of its body.
FIELDS = {
    "kind": "type",
    "user": "userId",
    "anonymous": "anonymousId",
    "previous": "previousId",
    "group": "groupId",
    "event": "event",
    "name": "name",
    "category": "category",
    "id": "messageId",
    "time": "timestamp",
}
#: What is said by an object.
OBJECTS = ("properties", "traits", "context")
#: What is said by a list of names.
_LISTS = ("without_prefix", "leave_out", "text", "number")
_SAID = frozenset((*FIELDS, *OBJECTS, "type", "time_unit", "time_zone", *_LISTS))
_CONDITIONS = frozenset(("where", "is", "is_not", "lacks", "same_as", "table"))
_OF_FILE = frozenset(("kind", "names", "delimiter", "quotes"))
_PARTS = frozenset(("about", "source", "like", "each", "event", "rule", "also", "file"))

Source: TypeAlias = str | Of[str, str]


@dataclass(frozen=True)
class Text:
    """A value that is the same for each record."""

    value: str


@dataclass(frozen=True)
class Said:
    """What a table says of an event, by key; a key that is not there says nothing.

    `values` are places, of which the first that has a value counts, or texts. `objects` are sources, which count
    together. By `time_zone` go times that say none themselves. `lists` has prefixes that ids lose, and names of members
    that are left out, kept as text or made a number.
    """

    values: Of[str, tuple[str | Text, ...]] = field(default_factory=dict)
    objects: Of[str, tuple[Source, ...]] = field(default_factory=dict)
    type: str | None = None
    time_unit: TimeUnit | None = None
    time_zone: str | None = None
    lists: Of[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def columns(self) -> frozenset[str]:
        """The columns that are named, by their names, and in front of a dot; those that end in * begin so."""
        found = {place for places in self.values.values() for place in places if isinstance(place, str)}
        for sources in self.objects.values():
            for source in sources:
                found |= {source} if isinstance(source, str) else {*source.values()}
        return frozenset(found | {place.partition(".")[0] for place in found})

    def casts(self, are_cells: bool) -> Casts:
        """How values of its objects are taken."""
        return self._casts[are_cells]

    @cached_property
    def _casts(self) -> tuple[Casts, Casts]:
        text, number, left_out = (frozenset(self.lists.get(key, ())) for key in ("text", "number", "leave_out"))
        begins = tuple(name[:-1] for name in left_out if name.endswith("*"))
        return Casts(False, text, number, left_out, begins), Casts(True, text, number, left_out, begins)

    def over(self, other: Said) -> Said:
        """What both say; where both do, this one counts."""
        return Said(
            {**other.values, **self.values},
            {**other.objects, **self.objects},
            # a column of kinds does not count for what a rule is sure of
            self.type or ("" if "kind" in self.values else other.type),
            self.time_unit or other.time_unit,
            self.time_zone or other.time_zone,
            {**other.lists, **self.lists},
        )


@dataclass(frozen=True)
class Rule:
    """What is said of the records that it fits: those that have a value at `where`, one of `values` if there are any
    (`*` at the end: that begins so), and none of `others`; none at `lacks`, the same at `same_as`; of a `table` that is
    named.
    """

    said: Said
    where: str | None = None
    values: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    lacks: str | None = None
    same_as: str | None = None
    table: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mapping:
    """A mapping as it was read. `name` is for people; `digest` names what it says. `each`: a record has a list of
    events there, which have its other values too.
    """

    name: str
    digest: str
    event: Said
    rules: tuple[Rule, ...] = ()
    also: tuple[Rule, ...] = ()
    each: str | None = None
    about: str = ""
    kind: str | None = None
    names: tuple[str, ...] = ()
    delimiter: str | None = None
    has_quotes: bool = True

    def reading(self, stated: Reading, table: str = "") -> Reading:
        """How a file of this format is read; `stated` is what the caller says of it."""
        return replace(
            stated,
            delimiter=stated.delimiter or self.delimiter,
            has_quotes=stated.has_quotes and self.has_quotes,
            as_sent=True,
            mapping=self,
            table=table,
            names=self.names,
        )

    @cached_property
    def has_tables(self) -> bool:
        """Whether it matters of which table a record is."""
        return any(rule.table for rule in (*self.rules, *self.also))

    def said(self, fitting: tuple[int, ...], further: int | None = None) -> Said:
        """What is said of a record that these rules fit, by their places; or of a `further` event of it."""
        key = (fitting, further)
        found = self._said.get(key)
        if found is None:
            found = self.event
            for at in fitting:
                found = self.rules[at].said.over(found)
            if further is not None:
                found = self.also[further].said.over(found)
            self._said[key] = found
        return found

    @cached_property
    def _said(self) -> dict[tuple[tuple[int, ...], int | None], Said]:
        return {}


def formats() -> list[str]:
    """The names of the formats that are here, in order."""
    files = resources.files(__package__).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def mapping_text(name: str) -> str:
    """The file of a format that is here. Raises `ImportRefused` for any other name."""
    if name not in formats():
        raise ImportRefused(
            f"--format {name} is not known; use {', '.join(formats())}, or a file of your own that ends in .toml"
        )
    return resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def read_mapping(name: str, behind: tuple[str, ...] = ()) -> Mapping:
    """The mapping of a format, or of a file that ends in .toml. Raises `ImportRefused`, which names what is wrong.

    `behind` are those that are like this one, each like the next.
    """
    if name in behind:
        raise ImportRefused(f"{name} is like itself, by {' and '.join((*behind, name))}: take out one like = …")
    behind = (*behind, name)
    if not name.endswith(".toml"):
        return mapping_of(mapping_text(name), name, behind)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ImportRefused(f"{name} cannot be read: {error}") from error
    return mapping_of(text, Path(name).name, behind)


def mapping_of(text: str, name: str, behind: tuple[str, ...] = ()) -> Mapping:
    """The mapping that a text of TOML is. Raises `ImportRefused`, which names what is wrong."""
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ImportRefused(f"{name} is no TOML: {error}") from error
    _known(said, _PARTS, name)
    like = _optional(said, "like", name)
    base = read_mapping(like, behind) if like else Mapping("", "", Said(type="track"))
    event = _said(_table(said, "event", name), f"{name}: [event]").over(base.event)
    if "time" not in event.values:
        raise ImportRefused(f'{name}: [event] does not say when: name the place of the time, as time = "timestamp"')
    file = _table(said, "file", name)
    _known(file, _OF_FILE, f"{name}: [file]")
    kind = file.get("kind", base.kind)
    if kind not in (None, "csv", "jsonl", "parquet"):
        raise ImportRefused(f"{name}: [file] kind is {kind!r}; use csv, jsonl or parquet")
    has_quotes = file.get("quotes", base.has_quotes)
    if not isinstance(has_quotes, bool):
        raise ImportRefused(f"{name}: [file] quotes is {has_quotes!r}; use true or false")
    return Mapping(
        name,
        blake2b(repr((said, base.digest)).encode(), digest_size=16).hexdigest(),
        event,
        base.rules + _rules(said, "rule", name),
        _rules(said, "also", name) if "also" in said else base.also,
        _optional(said, "each", name) or base.each,
        _text(said.get("about", ""), f"{name}: about"),
        kind,
        _texts(file["names"], f"{name}: [file] names") if "names" in file else base.names,
        _optional(file, "delimiter", f"{name}: [file]") or base.delimiter,
        has_quotes,
    )


def _rules(said: dict[str, Any], part: str, name: str) -> tuple[Rule, ...]:
    tables = said.get(part, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ImportRefused(f"{name}: write [[{part}]], with two brackets: there may be several")
    return tuple(_rule(table, f"{name}: [[{part}]] {at}") for at, table in enumerate(tables, 1))


def _rule(table: dict[str, Any], place: str) -> Rule:
    _known(table, _SAID | _CONDITIONS, place)
    conditions = {key: value for key, value in table.items() if key in _CONDITIONS}
    if not conditions:
        raise ImportRefused(f"{place} fits every record; say which, by {', '.join(sorted(_CONDITIONS))}")
    if conditions.keys() & {"is", "is_not", "same_as"} and "where" not in conditions:
        raise ImportRefused(f"{place} has no where; name the place whose value is compared")
    return Rule(
        _said({key: value for key, value in table.items() if key not in _CONDITIONS}, place),
        _optional(table, "where", place),
        _compared(table.get("is", []), f"{place}: is"),
        _compared(table.get("is_not", []), f"{place}: is_not"),
        _optional(table, "lacks", place),
        _optional(table, "same_as", place),
        _texts(table.get("table", []), f"{place}: table"),
    )


def _compared(values: Any, place: str) -> tuple[str, ...]:
    """Values of a condition as texts: true is `true`, as JSON writes it."""
    for one in _listed(values):
        if isinstance(one, (dict, list)):
            raise ImportRefused(f"{place} is {one!r}; write a text, a number, true or false, or a list of these")
    return tuple(str(one).lower() if isinstance(one, bool) else str(one) for one in _listed(values))


def _said(table: dict[str, Any], place: str) -> Said:
    _known(table, _SAID, place)
    kind, unit = table.get("type"), table.get("time_unit")
    if kind is not None and kind not in EVENT_KINDS:
        raise ImportRefused(f"{place}: type is {kind!r}; use one of {', '.join(EVENT_KINDS)}, or kind for its place")
    if unit is not None and unit not in TIME_UNITS:
        raise ImportRefused(f"{place}: time_unit is {unit!r}; use {', '.join(TIME_UNITS)}")
    zone = _optional(table, "time_zone", place)
    if zone is not None and zone not in available_timezones():
        raise ImportRefused(f"{place}: time_zone is {zone!r}; use a name such as Europe/Paris")
    return Said(
        {key: _values(table[key], f"{place}: {key}") for key in FIELDS if key in table},
        {key: _sources(table[key], f"{place}: {key}") for key in OBJECTS if key in table},
        kind,
        unit,
        zone,
        {key: _texts(table[key], f"{place}: {key}") for key in _LISTS if key in table},
    )


def _values(value: Any, place: str) -> tuple[str | Text, ...]:
    found: list[str | Text] = []
    for one in _listed(value):
        if isinstance(one, dict) and one.keys() == {"text"} and isinstance(one["text"], str):
            found.append(Text(one["text"]))
        else:
            found.append(_text(one, place))
    return tuple(found)


def _sources(value: Any, place: str) -> tuple[Source, ...]:
    found: list[Source] = []
    for one in _listed(value):
        if isinstance(one, dict):
            found.append({name: _text(inner, f"{place}: {name}") for name, inner in one.items()})
        else:
            found.append(_text(one, place))
    return tuple(found)


def _table(said: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    table = said.get(part, {})
    if not isinstance(table, dict):
        raise ImportRefused(f"{name}: {part} is {table!r}; write a table [{part}]")
    return table


def _known(table: dict[str, Any], keys: frozenset[str], place: str) -> None:
    unknown = sorted(table.keys() - keys)
    if unknown:
        raise ImportRefused(f"{place} has no {', '.join(unknown)}; it takes {', '.join(sorted(keys))}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _texts(value: Any, place: str) -> tuple[str, ...]:
    return tuple(_text(one, place) for one in _listed(value))


def _optional(table: dict[str, Any], key: str, place: str) -> str | None:
    return _text(table[key], f"{place}: {key}") if key in table else None


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise ImportRefused(f"{place} is {value!r}; write a text in quotes")
    return value


def require_format(path: Path, mapping: Mapping, names: list[str], table: str) -> None:
    """Raises `ImportRefused` for a file that is of something else: it has no column of those that say when; or it is of
    no table that is known, and has no column of the event.
    """
    if mapping.each is not None or not names:
        return
    said = (mapping.event, *(rule.said for rule in mapping.rules))
    has = f"it has {', '.join(names)}"
    wanted = _columns_of("time", said, names)
    if wanted and not any(name in names for name in wanted):
        raise ImportRefused(
            f"{path.name} has no column {', '.join(wanted)}, by which --format {mapping.name} knows the time; {has}: "
            "name its format"
        )
    tables = list(dict.fromkeys(one for rule in mapping.rules for one in rule.table))
    wanted = _columns_of("event", said, names)
    if tables and not any(is_like(table, one) for one in tables) and not any(name in names for name in wanted):
        raise ImportRefused(
            f"{path.name} is of no table that --format {mapping.name} knows ({', '.join(tables)}), and has no column "
            f"{', '.join(wanted)}; {has}: say its table by --table"
        )


def is_like(text: str, wanted: str) -> bool:
    """Whether a text is the wanted one, or begins so, where `*` ends that."""
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted


def _columns_of(key: str, said: Iterable[Said], names: list[str]) -> list[str]:
    """The columns that say something of a key, whichever table says so."""
    places = [place for one in said for place in one.values.get(key, ()) if isinstance(place, str)]
    return list(dict.fromkeys(place if place in names else place.partition(".")[0] for place in places))
