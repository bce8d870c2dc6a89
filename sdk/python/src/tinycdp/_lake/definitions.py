"""The definitions of today, and what a caller names: a saved key, or any expression over them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import polars as pl

from .._engine import (
    Bound,
    Definition,
    DefinitionKind,
    ExpressionError,
    Key,
    bind_one,
    bind_possible,
    nearest_names,
    without_unknown_escapes,
)

#: The key of an expression that is not saved, with a number behind it. No expression refers to it.
_UNSAVED = "__expression_"


class Definitions:
    """The newest version of each definition that is not deleted, from every version of every definition."""

    def __init__(self, versions: Iterable[Mapping[str, Any]]) -> None:
        newest: dict[Key, Mapping[str, Any]] = {}
        for body in sorted(versions, key=lambda body: body["version"]):
            newest[body["kind"], body["key"]] = body
        self._saved: dict[Key, Definition] = {
            key: Definition(*key, without_unknown_escapes(body["expression"]), body["version"])
            for key, body in newest.items()
            if not body.get("deleted", False)
        }

    @cached_property
    def _bounds(self) -> dict[Key, Bound]:
        return bind_possible(self._saved)

    def frame(self) -> pl.DataFrame:
        """kind, key, expression, version: one row a definition."""
        rows = [(saved.kind, saved.key, saved.expression, saved.version) for saved in self._saved.values()]
        columns = {"kind": pl.String, "key": pl.String, "expression": pl.String, "version": pl.Int64}
        return pl.DataFrame(rows, schema=columns, orient="row").sort("kind", "key")

    def keys(self, kind: str) -> list[str]:
        """The saved keys of a kind, sorted."""
        return sorted(key for saved_kind, key in self._saved if saved_kind == kind)

    def bound(self, text: str, number: int = 0, *, name: str = "", is_rule: bool = False) -> Bound:
        """What a text names: a saved trait, a saved segment, else an expression. A rule is a segment or an expression.

        `number` tells several expressions of one question apart, and an error says the `name` that the caller gave.
        Raises `ExpressionError`, a ValueError.
        """
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is no text: give the key of a trait or a segment, or an expression")
        kinds: tuple[DefinitionKind, ...] = ("segment",) if is_rule else ("trait", "segment")
        for kind in kinds:
            saved = self._saved.get((kind, text))
            if saved is not None:
                return self._bounds.get((kind, text)) or bind_one(saved, self._bounds)
        try:
            return bind_one(Definition(kinds[0], f"{_UNSAVED}{number}", text, 0), self._bounds)
        except ExpressionError as error:
            error.definition = name and repr(name)  # not the key: nobody gave it
            if error.code == "unknown_name" and not error.nearest:
                # Alone it may be meant as the key of a segment, which no expression names so.
                error.nearest = nearest_names(text, [key for kind, key in self._saved if kind in kinds])
            raise

    def named(self, traits: Sequence[str] | str, extra: Mapping[str, str] | None) -> dict[str, Bound]:
        """Column -> what it has: `traits` by their own text, `extra` by their names. Raises ValueError."""
        if not isinstance(traits, Iterable):
            raise ValueError(f"traits {traits!r}: give a key, an expression, or a list of them")
        texts = [traits] if isinstance(traits, str) else list(traits)
        named = dict(zip(texts, texts, strict=True))
        if not isinstance(extra, Mapping | None):
            raise ValueError(f"extra {extra!r}: give names and expressions, as {{'aov': 'events.purchase.amount.avg'}}")
        for name, text in (extra or {}).items():
            if not isinstance(name, str):
                raise ValueError(f"extra {name!r}: give each expression a name that is text")
            if name in named:
                raise ValueError(f"extra {name!r} is among the traits too: give it another name")
            named[name] = text
        if not named:
            raise ValueError("no trait is named: give keys or expressions in traits, or names and expressions in extra")
        return {
            name: self.bound(text, number, name="" if name == text else name)
            for number, (name, text) in enumerate(named.items())
        }


def card_of(bound: Bound) -> dict[str, Any]:
    """What a definition says, and those that it refers to, for a data card."""
    definition = bound.definition
    is_saved = not definition.key.startswith(_UNSAVED)
    card: dict[str, Any] = {"expression": definition.expression}
    if is_saved:
        card = {"kind": definition.kind, "key": definition.key, "version": definition.version, **card}
    if bound.used:
        card["uses"] = [card_of(used) for used in bound.used.values()]
    return card
