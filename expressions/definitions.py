"""Traits, segments and flags: a key and an expression, at a version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from .ops import Expr, SegmentRef, Span, TraitRef, transform, walk
from .rules.dtypes import Dtype

DefinitionKind: TypeAlias = Literal["trait", "segment", "flag"]

#: What names a definition: its kind and its key.
Key: TypeAlias = tuple[DefinitionKind, str]

#: What a key looks like. Traits are written as bare words. No expression names a flag, and other systems' flags have
#: hyphens and dots in their keys, so a flag may.
KEY_PATTERNS: dict[DefinitionKind, re.Pattern[str]] = {
    "trait": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "segment": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "flag": re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*"),
}
#: The characters of a key, as refusals name them.
KEY_CHARACTERS: dict[DefinitionKind, str] = {
    "trait": "letters, numbers, and underscores",
    "segment": "letters, numbers, and underscores",
    "flag": "letters, numbers, underscores, hyphens, and dots",
}
#: A key stands in URLs and in expressions, so it has a bound.
KEY_CHARACTERS_MAX = 200


@dataclass(frozen=True)
class Definition:
    """A named expression as its author wrote it. For segments and flags the expression is called the rule."""

    kind: DefinitionKind
    key: str
    expression: str
    version: int = 1


@dataclass(frozen=True)
class Bound:
    """A definition that can be computed: its names are known, its types fit, and it is in no cycle.

    `written` is the tree as the author wrote it; explanations need its references. `expr` has every reference replaced
    (`inlined`), so an execution needs no other definition. A definition that is used twice is there as one part that is
    used twice (`ops.distinct_parts`). `dtype` are the kinds of value that it may give. `used` has the definitions that
    it refers to directly, in the order of its text, `uses` their names.
    """

    definition: Definition
    written: Expr
    expr: Expr
    dtype: Dtype
    used: Mapping[Key, Bound] = field(default_factory=dict, compare=False, repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def uses(self) -> frozenset[Key]:
        """The definitions that it refers to directly."""
        return frozenset(self.used)


def named_by(node: Expr) -> Key | None:
    """The definition that a node refers to; None for a node that is no reference."""
    match node:
        case TraitRef(key):
            return "trait", key
        case SegmentRef(key):
            return "segment", key
        case _:
            return None


def references(expression: Expr) -> Iterator[tuple[Key, Span | None]]:
    """The definitions that an expression refers to, each with its place, from left to right and as often as written."""
    for node in walk(expression):
        key = named_by(node)
        if key is not None:
            yield key, node.at


def inlined(expression: Expr, bounds: Mapping[Key, Bound]) -> Expr:
    """The expression with every reference replaced by the very expression of the definition."""

    def change(node: Expr) -> Expr:
        key = named_by(node)
        return node if key is None else bounds[key].expr

    return transform(expression, change)
