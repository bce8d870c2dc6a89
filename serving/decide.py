"""From a user's answers to a decision. Never an exception: a broken dependency gives the default and reason ERROR.

The rule is pure and stands first; fetching the records is `serving/reading.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from expressions.definitions import DefinitionKind
from expressions.ops import Expr, SegmentRef, TraitRef, walk
from expressions.values import Value, to_json

#: OpenFeature's closed list, as far as a rule without variants needs it.
Reason: TypeAlias = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "DISABLED", "STALE", "ERROR"]


@dataclass(frozen=True)
class Decision:
    """What a flag says for a user."""

    allow: bool
    reason: Reason
    reasons: list[str]
    variant: str | None = None
    value: Any = None


def references(rule: Expr) -> list[tuple[DefinitionKind, str]]:
    """What a rule names: segments first, then traits, each in the order and as often as written."""
    nodes = list(walk(rule))
    segments: list[tuple[DefinitionKind, str]] = [
        ("segment", node.key) for node in nodes if isinstance(node, SegmentRef)
    ]
    return segments + [("trait", node.key) for node in nodes if isinstance(node, TraitRef)]


def decision(
    rule: Expr,
    values: Mapping[tuple[DefinitionKind, str], Value],
    outcome: bool,
    *,
    is_warming: bool,
    is_static: bool,
    default: bool = False,
) -> Decision:
    """The decision of a flag without variants.

    `values` are those of what the rule names, `outcome` is the rule's own. While anything it rests on is warming the
    flag answers its default, since a value so far is not the value.
    """
    reasons = [
        f"{kind}({key}) = {msgspec.json.encode(to_json(values.get((kind, key)))).decode()}"
        for kind, key in references(rule)
    ]
    if is_warming:
        return Decision(default, "STALE", [*reasons, f"final_result = {_word(default)}"], value=default)
    reason: Reason = "STATIC" if is_static else "TARGETING_MATCH" if outcome else "DEFAULT"
    return Decision(outcome, reason, [*reasons, f"final_result = {_word(outcome)}"], value=outcome)


def failed(message: str, default: bool = False) -> Decision:
    """The decision when something it rests on is broken."""
    return Decision(default, "ERROR", [f"evaluation_error: {message}"], value=default)


def _word(outcome: bool) -> str:
    return "true" if outcome else "false"
