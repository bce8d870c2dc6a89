"""The catalogue: every definition at one version, compiled, and what records must keep for them.

It is one value, replaced as a whole. Redis keeps it as text under one key, with its version beside it. Every read
brings the version along, so a process never answers with definitions older than those acknowledged. The lake keeps the
history of each definition; the catalogue is in Redis so that the API starts while the lake is away.

The **projection** is the set of event fields and profile keys that records keep; its version rises when it changes. The
catalogue remembers each version's projection, and where each shard's log stood when the shard was told of it (the
**activation**). A base answers for a definition when it was built with a projection that covers what the definition
needs, and covers the log up to that projection's activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import takewhile
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
import structlog
from msgspec import structs

from expressions.definitions import Bound, Definition, DefinitionKind, Key, references
from expressions.live.changes import Moves, Watched
from expressions.live.to_state import Program
from expressions.ops import Call, distinct_parts
from expressions.plan import Plan, Projection, plan
from expressions.rules.windows import Window, Zone
from expressions.text.bind import bind_changed, bind_possible
from expressions.text.dialect import without_unknown_escapes
from serving.definitions.flags import Flag, flag_of
from serving.store.stamps import Covered

log = structlog.get_logger()

#: The catalogue remembers so many projections. A definition that an older one covered waits for the oldest of these.
PROJECTIONS_MAX = 64


class StoredDefinition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One definition as it is kept: the newest version in the catalogue, every version in the lake.

    `settings` holds what only its kind has (of a flag: enabled, default …). `projection` is the catalogue's projection
    version when this was saved, `note` is why it was. Times are UTC milliseconds. An expression that was saved while
    unknown escapes were left out is kept without them: it means what it meant.
    """

    kind: DefinitionKind
    key: str
    expression: str
    version: int = 1
    created_ms: int = 0
    updated_ms: int = 0
    author: str = ""
    note: str = ""
    deleted: bool = False
    projection: int = 0
    settings: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        structs.force_setattr(self, "expression", without_unknown_escapes(self.expression))

    @property
    def definition(self) -> Definition:
        """The part that the language knows."""
        return Definition(self.kind, self.key, self.expression, self.version)


@dataclass(frozen=True)
class Catalogue:
    """All definitions at one version. Keys are (kind, key)."""

    version: int = 0
    zone: Zone = field(default_factory=Zone)
    definitions: Mapping[Key, StoredDefinition] = field(default_factory=dict)
    #: (version, projection), oldest first
    projections: tuple[tuple[int, Projection], ...] = ()
    #: projection version -> the seq of each shard when it was told of it; a version that is missing is on its way
    activations: Mapping[int, Sequence[int]] = field(default_factory=dict)
    #: per shard what a base covers that has no stamp of its own; None until a rebuild has covered the shard
    covered: Sequence[Covered | None] = ()

    @cached_property
    def bounds(self) -> Mapping[Key, Bound]:
        """Every definition, bound; each comes after those that it uses."""
        return bind_changed(
            (stored.definition for stored in self.definitions.values()), vars(self).pop(_BOUNDS_BEFORE, {})
        )

    @cached_property
    def plan(self) -> Plan:
        """What all definitions together need."""
        return plan(bound.expr for bound in self.bounds.values())

    @cached_property
    def program(self) -> Program:
        """All definitions, compiled for reading."""
        return Program(list(self.bounds.values()), self.zone)

    @cached_property
    def _watched(self) -> dict[Key, Watched]:
        return {}

    def watched(self, key: Key) -> Watched:
        """A definition with all that moves it with time, compiled when it is first asked for."""
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watched[key] = Watched(self.bounds[key].expr, self.program)
        return watched

    @cached_property
    def flag_moves(self) -> Moves:
        """All that time alone moves in the rules of flags, and in the traits that they bucket by."""
        rules = [self.bounds["flag", key].expr for key in self.flags]
        traits = sorted({flag.bucketing_trait for flag in self.flags.values() if flag.bucketing_trait is not None})
        return Moves([*rules, *(self.bounds["trait", key].expr for key in traits)], self.program)

    @property
    def projection(self) -> Projection:
        """The fields and keys that records keep now."""
        return self.projections[-1][1] if self.projections else Projection()

    @property
    def projection_version(self) -> int:
        """The version of the projection; 0 while no definition needs one."""
        return self.projections[-1][0] if self.projections else 0

    @cached_property
    def needed_versions(self) -> Mapping[Key, int]:
        """For each definition the projection version since which its needs are covered; 0 if it reads no record."""
        return {key: self._version_for(plan([bound.expr])) for key, bound in self.bounds.items()}

    @cached_property
    def references(self) -> Mapping[Key, list[Key]]:
        """What each flag's rule names: segments, then traits, each in the order and as often as written."""
        return {
            key: sorted((named for named, _ in references(bound.written)), key=itemgetter(0))
            for key, bound in self.bounds.items()
            if key[0] == "flag"
        }

    @cached_property
    def flags(self) -> Mapping[str, Flag]:
        """Every flag by key, ready for decisions."""
        return {
            stored.key: flag_of(stored.key, stored.settings, stored.version)
            for stored in self.definitions.values()
            if stored.kind == "flag"
        }

    @cached_property
    def dependents(self) -> Mapping[Key, list[Key]]:
        """The definitions that refer to each one directly, by kind and key; one that nobody refers to is left out."""
        dependents: dict[Key, set[Key]] = {}
        for user, bound in self.bounds.items():
            for used in bound.uses:
                dependents.setdefault(used, set()).add(user)
        for flag in self.flags.values():
            user = ("flag", flag.key)
            for needed in flag.prerequisites:
                dependents.setdefault(("flag", needed.flag), set()).add(user)
            if flag.bucketing_trait is not None:
                dependents.setdefault(("trait", flag.bucketing_trait), set()).add(user)
        return {used: sorted(users) for used, users in dependents.items()}

    def last_change(self, key: Key) -> int:
        """The version in which a definition, or one that it refers to, also by others, was saved last."""
        found, waiting = {key}, [key]
        while waiting:
            more = self.bounds[waiting.pop()].uses - found
            found |= more
            waiting += more
        return max(self.definitions[one].version for one in found)

    def with_prerequisites(self, key: str) -> list[Flag]:
        """A flag and all flags that it needs, directly or by others, each once."""
        found = {key: self.flags[key]}
        waiting = [self.flags[key]]
        while waiting:
            for needed in waiting.pop().prerequisites:
                if needed.flag not in found:
                    found[needed.flag] = self.flags[needed.flag]
                    waiting.append(self.flags[needed.flag])
        return list(found.values())

    @cached_property
    def static_flags(self) -> frozenset[str]:
        """The flags that do not tell people apart, neither by their rule nor by users, prerequisites or buckets."""
        return frozenset(
            key
            for key, flag in self.flags.items()
            if self.needed_versions["flag", key] == 0
            and not flag.users
            and not flag.prerequisites
            and not any(
                isinstance(node, Call) and node.function == "bucket"
                for node in distinct_parts(self.bounds["flag", key].expr)
            )
        )

    def _version_for(self, needed: Plan) -> int:
        if not needed.needs and not needed.attributes:
            return 0
        covering = takewhile(lambda numbered: numbered[1].covers(needed.projection), reversed(self.projections))
        # Where an older version of this program saved the definitions, perhaps none covers: the next projection will.
        return min((version for version, _ in covering), default=self.projection_version + 1)

    @cached_property
    def summed(self) -> Mapping[str, frozenset[str]]:
        """Per event name the properties that a definition sums (S6)."""
        summed: dict[str, set[str]] = {}
        for need in self.plan.needs:
            lift, source = need.slot.lift, need.source
            if isinstance(lift, Call) and lift.function == "millionths" and source.event and source.property:
                summed.setdefault(source.event, set()).add(source.property)
        return {name: frozenset(properties) for name, properties in summed.items()}

    def with_compiled(self, other: Catalogue) -> Catalogue:
        """This very catalogue, with everything that the other one has compiled, where both define the same.

        Where they do not, it will take over the bounds of the definitions that are the same with all that they refer
        to. Every rebuild makes a version, and a thousand definitions take a seventh of a second to compile.
        """
        compiled = vars(other)
        if self.definitions == other.definitions and self.zone == other.zone and self.projections == other.projections:
            vars(self).update({name: value for name, value in compiled.items() if name in _COMPILED})
        elif "bounds" in compiled:
            vars(self)[_BOUNDS_BEFORE] = compiled["bounds"]
        return self

    def of_kind(self, kind: DefinitionKind) -> list[StoredDefinition]:
        """The definitions of a kind, by key."""
        return sorted((stored for stored in self.definitions.values() if stored.kind == kind), key=attrgetter("key"))

    def is_ready(self, key: Key, shard: int, stamp: Covered | None) -> bool:
        """Whether a base with this stamp (of the record, else of its shard) answers for a definition in full."""
        version = self.needed_versions[key]
        if version == 0:
            return True
        seqs = self.activations.get(version)
        return stamp is not None and seqs is not None and stamp.projection >= version and stamp.seq >= seqs[shard]

    def with_definition(self, stored: StoredDefinition) -> Catalogue:
        """The next version, with a definition saved or, where it is `deleted`, taken out.

        The projection's version rises when the definitions together need something else than before: more, or less
        once one is gone. The definition notes it. Raises `ExpressionError` when a definition no longer binds.
        """
        definitions = {**self.definitions, (stored.kind, stored.key): stored}
        if stored.deleted:
            del definitions[(stored.kind, stored.key)]
        bound = replace(self, version=self.version + 1, definitions=definitions).with_compiled(self)
        needed, projections = bound.plan.projection, self.projections
        if needed != self.projection:
            projections = (*projections, (self.projection_version + 1, needed))[-PROJECTIONS_MAX:]
        if not stored.deleted:
            number = projections[-1][0] if projections else 0
            definitions = {**definitions, (stored.kind, stored.key): structs.replace(stored, projection=number)}
        changed = replace(bound, definitions=definitions, projections=projections)
        vars(changed).update(bounds=bound.bounds, plan=bound.plan)  # bound once: neither reads what has changed since
        return changed

    def with_activation(self, version: int, sequences: Sequence[int], is_empty: bool) -> Catalogue:
        """The next version, with an activation: each shard's log stood at these seqs when it was told of a projection.

        `is_empty`: the lake holds no event. A shard whose log holds none either has nothing to wait for.
        """
        activations = {**self.activations, version: tuple(sequences)}
        covered = list(self.covered) or [None] * len(sequences)
        if is_empty:
            for shard, seq in enumerate(sequences):
                if seq == 0:
                    covered[shard] = Covered(0, 0, 0, 0, version)
        remembered = {number for number, _ in self.projections}
        return replace(
            self,
            version=self.version + 1,
            activations={number: seqs for number, seqs in activations.items() if number in remembered},
            covered=tuple(covered),
        )

    def with_covered(self, covered: Sequence[Covered | None]) -> Catalogue:
        """The next version, after a complete rebuild; a shard's stamp never goes back.

        A rebuild that knew an older projection than what is covered now, and covers no more of the log, changes
        nothing. So on an empty system a definition that is live at once stays so, when a rebuild ends that began
        before it.
        """
        stamps = list(self.covered) or [None] * len(covered)
        for shard, new in enumerate(covered):
            old = stamps[shard]
            if new is None or (old and old.projection > new.projection and old.seq >= new.seq):
                continue
            if old is None or (old.lake_version, old.build) < (new.lake_version, new.build):
                stamps[shard] = new
        return replace(self, version=self.version + 1, covered=tuple(stamps))


#: Where a catalogue keeps the bounds of the one before it, until it has its own.
_BOUNDS_BEFORE = "_bounds_before"
_COMPILED = {name for name, member in vars(Catalogue).items() if isinstance(member, cached_property)}


def restored(
    rows: Iterable[StoredDefinition], sequences: Sequence[int], version: int, zone: Zone, projection: int = 0
) -> Catalogue:
    """The catalogue from the lake's history of definitions (`rows`), for a Redis that has lost it.

    All definitions start together at a projection version above any that was used before, in the lake's history or by
    a shard (`projection` is the greatest that a shard knows). A number that meant something else would make bases ready
    that are not, and a shard refuses events that are projected by an older version. The log stands at `sequences`, so a
    rebuild up to there makes the definitions ready.
    """
    newest: dict[Key, StoredDefinition] = {}
    above = 1 + projection
    for row in sorted(rows, key=lambda row: row.version):
        newest[(row.kind, row.key)] = row
        above = max(above, 1 + row.projection)
    catalogue = Catalogue(
        version=version,
        zone=zone,
        definitions=_binding({key: row for key, row in newest.items() if not row.deleted}),
        activations={above: tuple(sequences)},
        covered=(None,) * len(sequences),
    )
    return replace(catalogue, projections=((above, catalogue.plan.projection),))


def _binding(
    rows: Mapping[Key, StoredDefinition],
) -> dict[Key, StoredDefinition]:
    """The definitions that bind, alone and with each other. One that does not bind must not keep a system down."""
    bounds = bind_possible({key: row.definition for key, row in rows.items()})
    if len(bounds) < len(rows):
        log.error("definitions_left_out", keys=sorted(f"{kind}:{key}" for kind, key in rows.keys() - bounds.keys()))
    return {key: row for key, row in rows.items() if key in bounds}


# ── as text ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _ProjectionText(msgspec.Struct):
    version: int
    events: list[tuple[str | None, list[str]]]
    attributes: list[str]
    reach: list[tuple[int, str, bool]]
    lifetime: list[str]


class _CatalogueText(msgspec.Struct):
    version: int
    zone: str
    definitions: list[StoredDefinition]
    projections: list[msgspec.Raw]
    activations: dict[int, list[int]]
    covered: list[Covered | None]


#: A catalogue has up to 64 projections, the same ones in each version of it, and each save reads and writes several
#: versions. So the text of a projection is read and made once.
_TEXTS_MAX = 4 * PROJECTIONS_MAX


class _Numbered(NamedTuple):
    """A projection and its version."""

    version: int
    projection: Projection


@lru_cache(_TEXTS_MAX)
def _read_projection(text: bytes) -> _Numbered:
    read = msgspec.json.decode(text, type=_ProjectionText)
    return _Numbered(
        read.version,
        Projection(
            events={name: frozenset(properties) for name, properties in read.events},
            attributes=frozenset(read.attributes),
            reach=frozenset(Window(length, unit, dates) for length, unit, dates in read.reach),  # type: ignore[arg-type]
            lifetime=frozenset(read.lifetime),
        ),
    )


def _projection_text(version: int, projection: Projection) -> msgspec.Raw:
    """The text of a projection, which the projection then remembers: it never changes."""
    known: dict[int, bytes] = vars(projection).setdefault("_texts", {})
    if version not in known:
        text = _ProjectionText(
            version=version,
            events=[(name, sorted(properties)) for name, properties in projection.events.items()],
            attributes=sorted(projection.attributes),
            reach=[(window.length, window.unit, window.dates) for window in sorted(projection.reach)],
            lifetime=sorted(projection.lifetime),
        )
        known[version] = msgspec.json.encode(text)
    return msgspec.Raw(known[version])


def encode(catalogue: Catalogue) -> bytes:
    """The catalogue as JSON."""
    return msgspec.json.encode(
        _CatalogueText(
            version=catalogue.version,
            zone=catalogue.zone.name,
            definitions=list(catalogue.definitions.values()),
            projections=[_projection_text(number, projection) for number, projection in catalogue.projections],
            activations={version: list(seqs) for version, seqs in catalogue.activations.items()},
            covered=list(catalogue.covered),
        )
    )


def decode(data: bytes) -> Catalogue:
    """The catalogue that `encode` wrote."""
    read = msgspec.json.decode(data, type=_CatalogueText)
    return Catalogue(
        version=read.version,
        zone=Zone(read.zone),
        definitions={(stored.kind, stored.key): stored for stored in read.definitions},
        projections=tuple(_read_projection(bytes(text)) for text in read.projections),
        activations={version: tuple(seqs) for version, seqs in read.activations.items()},
        covered=tuple(read.covered),
    )
