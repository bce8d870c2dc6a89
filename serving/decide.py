"""From a user's answers to a decision. Never an exception: a broken dependency gives the default and reason ERROR.

The rule is pure and stands first; fetching the records is `serving/users.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import msgspec

from expressions.to_state import Key
from expressions.values import Value, to_json

_encode = msgspec.json.Encoder().encode

#: OpenFeature's closed list, as far as a rule without variants needs it.
Reason: TypeAlias = Literal["STATIC", "DEFAULT", "TARGETING_MATCH", "DISABLED", "STALE", "ERROR"]


@dataclass(frozen=True)
class Decision:
    """What a flag says for a user. `lacking` are ids that only a rebuild of their own makes whole."""

    allow: bool
    reason: Reason
    reasons: list[str]
    variant: str | None = None
    value: Any = None
    lacking: tuple[str, ...] = ()
    explanation: dict[str, Any] | None = None


def decision(
    named: Sequence[Key],
    values: Mapping[Key, Value],
    outcome: bool,
    *,
    is_warming: bool,
    is_static: bool,
    default: bool = False,
    lacking: tuple[str, ...] = (),
    explanation: dict[str, Any] | None = None,
) -> Decision:
    """The decision of a flag without variants.

    `values` are those of what the rule names, `outcome` is the rule's own. While anything it rests on is warming the
    flag answers its default, since a value so far is not the value.
    """
    reasons = [f"{kind}({key}) = {_encode(to_json(values.get((kind, key)))).decode()}" for kind, key in named]
    reason: Reason = "TARGETING_MATCH" if outcome else "DEFAULT"
    if is_warming:
        outcome, reason = default, "STALE"
    elif is_static:
        reason = "STATIC"
    reasons.append(_final(outcome))
    return Decision(outcome, reason, reasons, value=outcome, lacking=lacking, explanation=explanation)


def disabled(default: bool = False) -> Decision:
    """The decision of a flag that is switched off."""
    return Decision(default, "DISABLED", [_final(default)], value=default)


def failed(message: str, default: bool = False) -> Decision:
    """The decision when something it rests on is broken."""
    return Decision(default, "ERROR", [f"evaluation_error: {message}"], value=default)


def _final(outcome: bool) -> str:
    return f"final_result = {'true' if outcome else 'false'}"
