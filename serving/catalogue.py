"""The catalogue: every definition at one version, compiled, and what records must keep for them.

One value, swapped whole. It is stored in Redis as text under one key, with a version beside it that every read brings
along, so a process never answers with definitions older than those acknowledged. The lake keeps the history of each
definition; Redis keeps the catalogue, so that the API starts while the lake is away.

The **projection** is the set of event fields and profile keys that records keep. It only grows, and its version rises
when it does. A definition remembers the projection version that first covered it, and the catalogue where each shard's
log stood when that version was raised there (**activation**). A base answers for a definition when it was built with
that projection and covers the log up to the activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import msgspec

from expressions.bind import bind
from expressions.definitions import Bound, Definition, DefinitionKind
from expressions.plan import Plan, Projection, plan
from expressions.to_state import Program
from expressions.windows import Window, Zone


class Stored(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One definition as it is kept: in the catalogue the newest version, in the lake every one.

    `settings` holds what only its kind has (of a flag: enabled, default …). Times are UTC milliseconds.
    """

    kind: DefinitionKind
    key: str
    expression: str
    version: int = 1
    created_ms: int = 0
    updated_ms: int = 0
    author: str = ""
    deleted: bool = False
    projection: int = 0
    settings: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def definition(self) -> Definition:
        """The part the language knows."""
        return Definition(self.kind, self.key, self.expression, self.version)


class Covered(msgspec.Struct, frozen=True, array_like=True):
    """The last complete rebuild of a shard: an id without a base has nothing at or before this stamp."""

    lake_version: int
    build: int
    seq: int
    as_of_ms: int
    projection: int


@dataclass(frozen=True)
class Catalogue:
    """All definitions at one version. Keys are (kind, key)."""

    version: int = 0
    zone: Zone = field(default_factory=Zone)
    definitions: Mapping[tuple[DefinitionKind, str], Stored] = field(default_factory=dict)
    projection: Projection = field(default_factory=Projection)
    projection_version: int = 0
    #: projection version -> the seq of each shard when it was raised there; a version without one is not active yet.
    activations: Mapping[int, Sequence[int]] = field(default_factory=dict)
    #: per shard; None until a rebuild has covered it
    covered: Sequence[Covered | None] = ()

    @cached_property
    def bounds(self) -> Mapping[tuple[DefinitionKind, str], Bound]:
        """Every definition, bound, in an order in which each comes after those it uses."""
        return bind(stored.definition for stored in self.definitions.values())

    @cached_property
    def plan(self) -> Plan:
        """What all definitions together need."""
        return plan(bound.expr for bound in self.bounds.values())

    @cached_property
    def program(self) -> Program:
        """All definitions, compiled for reading."""
        return Program(list(self.bounds.values()), self.zone)

    def of_kind(self, kind: DefinitionKind) -> list[Stored]:
        """The definitions of a kind, by key."""
        return sorted((one for one in self.definitions.values() if one.kind == kind), key=lambda one: one.key)

    def activation(self, stored: Stored, shard: int) -> int | None:
        """From which seq on a shard's records keep what this definition needs; None while that is being raised."""
        if stored.projection == 0:
            return 0
        raised = self.activations.get(stored.projection)
        return None if raised is None else raised[shard]

    def is_ready(self, stored: Stored, shard: int, stamp: Covered | None) -> bool:
        """Whether a base with this stamp (of the record, else of its shard) answers for a definition in full."""
        if stored.projection == 0:
            return True
        activation = self.activation(stored, shard)
        return (
            stamp is not None
            and activation is not None
            and stamp.projection >= stored.projection
            and stamp.seq >= activation
        )

    def with_definition(self, stored: Stored) -> Catalogue:
        """The next version with a definition saved or, where `deleted`, taken out.

        The projection grows, and its version rises, where the definition needs more than records keep. Raises
        `ExpressionError` when any definition would no longer bind.
        """
        definitions = dict(self.definitions)
        if stored.deleted:
            del definitions[(stored.kind, stored.key)]
        else:
            definitions[(stored.kind, stored.key)] = stored
        changed = Catalogue(
            version=self.version + 1,
            zone=self.zone,
            definitions=definitions,
            projection=self.projection,
            projection_version=self.projection_version,
            activations=self.activations,
            covered=self.covered,
        )
        if stored.deleted:
            return changed
        # What depends on the changed definition has it inlined, so its needs change too.
        grown, version = self.projection, self.projection_version
        for key, bound in changed.bounds.items():
            needed = plan([bound.expr]).projection
            held = definitions[key]
            if grown.covers(needed):
                if key == (stored.kind, stored.key) or held.projection == 0:
                    definitions[key] = _at(held, self._least_version(needed, grown, version, self.projection_version))
                elif not self._covered_at(held.projection, needed):
                    definitions[key] = _at(held, version)
                continue
            if version == self.projection_version:
                version += 1
            grown = grown | needed
            definitions[key] = _at(held, version)
        return replace(changed, definitions=definitions, projection=grown, projection_version=version)

    def _least_version(self, needed: Projection, grown: Projection, version: int, before: int) -> int:
        """The version to remember for a definition: none if it reads no record, else the least that surely covers it."""
        if not needed.events and not needed.attributes:
            return 0
        return before if self.projection.covers(needed) else version

    def _covered_at(self, version: int, needed: Projection) -> bool:
        return version >= self.projection_version and self.projection.covers(needed)

    def with_activation(self, version: int, sequences: Sequence[int], is_empty: bool) -> Catalogue:
        """The next version, knowing where each shard's log stood when a projection version was raised there.

        `is_empty`: the lake holds no event. A shard whose log holds none either has nothing to wait for.
        """
        activations = {**self.activations, version: tuple(sequences)}
        covered = list(self.covered) or [None] * len(sequences)
        if is_empty:
            for shard, seq in enumerate(sequences):
                if seq == 0:
                    covered[shard] = Covered(0, 0, 0, 0, version)
        kept = {one.projection for one in self.definitions.values()} | {version}
        return replace(
            self,
            version=self.version + 1,
            activations={number: seqs for number, seqs in activations.items() if number in kept},
            covered=tuple(covered),
        )

    def with_covered(self, covered: Sequence[Covered | None]) -> Catalogue:
        """The next version, after a complete rebuild; a shard's stamp never goes back."""
        held = list(self.covered) or [None] * len(covered)
        newer = [
            mine if new is None or (mine is not None and (mine.lake_version, mine.build) >= (new.lake_version, new.build)) else new
            for mine, new in zip(held, covered, strict=True)
        ]
        return replace(self, version=self.version + 1, covered=tuple(newer))


def _at(stored: Stored, version: int) -> Stored:
    return msgspec.structs.replace(stored, projection=version)


def restored(rows: Iterable[Stored], sequences: Sequence[int], version: int, zone: Zone) -> Catalogue:
    """The catalogue from the lake's history of definitions, for a Redis that has lost it.

    All definitions start together at a projection version above any that was used before; the log stands at
    `sequences`, so a rebuild up to there makes them ready.
    """
    newest: dict[tuple[DefinitionKind, str], Stored] = {}
    for row in sorted(rows, key=lambda row: row.version):
        newest[(row.kind, row.key)] = row
    above = 1 + max((row.projection for row in newest.values()), default=0)
    alive = {key: _at(row, above) for key, row in newest.items() if not row.deleted}
    found = Catalogue(
        version=version, zone=zone, definitions=alive, projection_version=above, activations={above: tuple(sequences)}
    )
    return replace(found, projection=found.plan.projection, covered=(None,) * len(sequences))


# ── as text ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Text(msgspec.Struct):
    version: int
    zone: str
    definitions: list[Stored]
    events: list[tuple[str | None, list[str]]]
    attributes: list[str]
    reach: list[tuple[int, str, bool]]
    lifetime: list[str]
    projection_version: int
    activations: dict[int, list[int]]
    covered: list[Covered | None]


def encode(catalogue: Catalogue) -> bytes:
    """The catalogue as JSON."""
    kept = catalogue.projection
    return msgspec.json.encode(
        _Text(
            version=catalogue.version,
            zone=catalogue.zone.name,
            definitions=list(catalogue.definitions.values()),
            events=[(name, sorted(properties)) for name, properties in kept.events.items()],
            attributes=sorted(kept.attributes),
            reach=[(window.length, window.unit, window.dates) for window in sorted(kept.reach)],
            lifetime=sorted(kept.lifetime),
            projection_version=catalogue.projection_version,
            activations={version: list(seqs) for version, seqs in catalogue.activations.items()},
            covered=list(catalogue.covered),
        )
    )


def decode(text: bytes) -> Catalogue:
    """The catalogue that `encode` wrote."""
    read = msgspec.json.decode(text, type=_Text)
    return Catalogue(
        version=read.version,
        zone=Zone(read.zone),
        definitions={(one.kind, one.key): one for one in read.definitions},
        projection=Projection(
            events={name: frozenset(properties) for name, properties in read.events},
            attributes=frozenset(read.attributes),
            reach=frozenset(Window(length, unit, dates) for length, unit, dates in read.reach),  # type: ignore[arg-type]
            lifetime=frozenset(read.lifetime),
        ),
        projection_version=read.projection_version,
        activations={version: tuple(seqs) for version, seqs in read.activations.items()},
        covered=tuple(read.covered),
    )
