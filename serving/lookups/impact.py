"""What an edit of a definition changes for people: in it, in all that uses it, and in the decisions of flags.

Old and new definitions are evaluated over the same rows, in one frame of answers: the new ones have keys that begin
with `AFTER`. What both have in common is computed once. The counts are added part by part.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from expressions.batch.cells import COLUMN_KINDS
from expressions.batch.frames import column_of, holding
from expressions.definitions import Bound, Key
from serving.definitions.catalogue import Catalogue
from serving.definitions.flags import Flag
from serving.lookups.flag_frames import decision_column, in_order, named_answers, with_decisions

#: Before the keys of definitions after the edit. No key has such a character.
AFTER = "after."
#: People that are shown of those who enter or leave; definitions, and changes of a flag's decision, that are listed.
SAMPLE, DEFINITIONS_MAX, DECISIONS_MAX = 10, 100, 50


@dataclass
class _Change:
    """The counts of one definition so far. A decision is (allow, variant)."""

    counts: Counter[str] = field(default_factory=Counter)
    enters: list[str] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    decisions: Counter[tuple[bool, str | None, bool, str | None]] = field(default_factory=Counter)


class Impact:
    """The impact of an edit; `bounds` are what a frame of answers must have for `add`."""

    def __init__(self, before: Catalogue, after: Catalogue, owners: pl.DataFrame, edited: Key) -> None:
        self._before, self._after, self._edited = before, after, edited
        reached = _reached(before, after)
        needed = dict.fromkeys(reached)
        self._flags: dict[str, list[Flag]] = {}
        for mark, catalogue in (("", before), (AFTER, after)):
            keys = [key for kind, key in reached if kind == "flag" and key in catalogue.flags]
            flags = self._flags[mark] = in_order(catalogue.flags, keys)
            needed |= dict.fromkeys(("flag", flag.key) for flag in flags)
            needed |= dict.fromkeys(("trait", flag.bucketing_trait) for flag in flags if flag.bucketing_trait)
        self._named = {mark: named_answers(flags, owners) for mark, flags in self._flags.items()}
        self.bounds: list[Bound] = [
            replace(bound, definition=replace(bound.definition, key=mark + bound.definition.key))
            for mark, catalogue in (("", before), (AFTER, after))
            for key, bound in catalogue.bounds.items()
            if key in needed
        ]
        self._changes = {key: _Change() for key in reached}
        self._total = 0

    def add(self, answers: pl.DataFrame, now_ms: int) -> None:
        """Adds some people: one row each, as of an instant."""
        for mark, flags in self._flags.items():
            answers = with_decisions(answers, flags, self._named[mark], now_ms, mark)
        self._total += len(answers)
        for key, change in self._changes.items():
            had, has = self._has(key, ""), self._has(key, AFTER)
            compared = answers.select(
                "id", had.alias("had"), has.alias("has"), self._differs(key).fill_null(True).alias("changed")
            )
            change.counts.update(compared.select(pl.col("had", "has", "changed").sum()).row(0, named=True))
            for name, sample, rows in (
                ("enters", change.enters, compared.filter(pl.col("has") & ~pl.col("had"))),
                ("leaves", change.leaves, compared.filter(pl.col("had") & ~pl.col("has"))),
            ):
                change.counts[name] += len(rows)
                sample += rows["id"].head(SAMPLE - len(sample)).to_list()
            if key[0] == "flag":
                change.decisions.update(self._decisions(answers.filter(compared["changed"]), key[1]))

    def result(self) -> dict[str, Any]:
        """`definitions`: those that the edit reaches, itself first, then by the people whom it changes something for.

        Of each for how many people it holds before and after; of a trait how many have a value. `changed`: for how many
        the value or the decision differs. `enters` and `leaves`: how many, and some of them. `decisions`: of a flag the
        changes, the most frequent first. `left_out` counts the definitions that are not listed.
        """
        ordered = sorted(
            self._changes, key=lambda key: (key != self._edited, -self._changes[key].counts["changed"], key)
        )
        return {
            "definitions": [self._shown(key) for key in ordered[:DEFINITIONS_MAX]],
            "left_out": max(0, len(ordered) - DEFINITIONS_MAX),
            "total": self._total,
        }

    def _shown(self, key: Key) -> dict[str, Any]:
        change = self._changes[key]
        return {
            "kind": key[0],
            "key": key[1],
            "before": change.counts["had"],
            "after": change.counts["has"],
            "changed": change.counts["changed"],
            "enters": {"count": change.counts["enters"], "sample": change.enters},
            "leaves": {"count": change.counts["leaves"], "sample": change.leaves},
            "decisions": [
                {
                    "before": {"allow": allowed, "variant": variant},
                    "after": {"allow": allows, "variant": new_variant},
                    "count": count,
                }
                for (allowed, variant, allows, new_variant), count in change.decisions.most_common(DECISIONS_MAX)
            ],
        }

    # ── columns ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_there(self, key: Key, mark: str) -> bool:
        return key in (self._after if mark else self._before).bounds

    def _has(self, key: Key, mark: str) -> pl.Expr:
        """Whether a definition holds for a person: a trait has a value, a flag allows. False where there is none."""
        if not self._is_there(key, mark):
            return pl.lit(False)
        kind, name = key
        if kind == "flag":
            return pl.col(decision_column(name, mark)).struct.field("allow")
        if kind == "segment":
            return holding((kind, mark + name))
        return pl.any_horizontal(self._value(key, kind_of_value, mark).is_not_null() for kind_of_value in COLUMN_KINDS)

    def _differs(self, key: Key) -> pl.Expr:
        """Whether what is told of a person differs: of a trait the value, of a flag the decision."""
        kind, name = key
        if kind == "segment":
            return self._has(key, "") != self._has(key, AFTER)
        if not (self._is_there(key, "") and self._is_there(key, AFTER)):
            return self._has(key, "") | self._has(key, AFTER)
        if kind == "flag":
            before, after = (pl.col(decision_column(name, mark)).struct for mark in ("", AFTER))
            return before.field("allow").ne_missing(after.field("allow")) | before.field("variant").ne_missing(
                after.field("variant")
            )
        values = ((self._value(key, of_kind, ""), self._value(key, of_kind, AFTER)) for of_kind in COLUMN_KINDS)
        return pl.any_horizontal(before.ne_missing(after) for before, after in values)

    def _value(self, key: Key, kind: str, mark: str) -> pl.Expr:
        return pl.col(column_of((key[0], mark + key[1]))).struct.field(kind)

    def _decisions(self, changed: pl.DataFrame, key: str) -> dict[tuple[bool, str | None, bool, str | None], int]:
        parts = []
        for mark in ("", AFTER):
            if self._is_there(("flag", key), mark):
                decision = pl.col(decision_column(key, mark)).struct
                parts += [
                    decision.field("allow").alias(f"{mark}allow"),
                    decision.field("variant").alias(f"{mark}variant"),
                ]
            else:
                nothing = pl.lit(None, dtype=pl.String)
                parts += [pl.lit(False).alias(f"{mark}allow"), nothing.alias(f"{mark}variant")]
        counted = changed.select("id", *parts).group_by(pl.exclude("id")).len()
        return {(row[0], row[1], row[2], row[3]): row[4] for row in counted.iter_rows()}


def _reached(before: Catalogue, after: Catalogue) -> list[Key]:
    """The definitions of which an edit may change an answer: by their own text, by what they use, or as flags do."""
    gone = [key for key in before.bounds if key not in after.bounds]
    reached = {
        key for key, bound in after.bounds.items() if key not in before.bounds or before.bounds[key].expr != bound.expr
    }
    settings = {key: _deciding(flag) for key, flag in before.flags.items()}
    for flag in in_order(after.flags, after.flags):
        others: list[Key] = [("flag", needed.flag) for needed in flag.prerequisites]
        if flag.bucketing_trait is not None:
            others.append(("trait", flag.bucketing_trait))
        if settings.get(flag.key) != _deciding(flag) or not reached.isdisjoint(others):
            reached.add(("flag", flag.key))
    return [*gone, *(key for key in after.bounds if key in reached)]


def _deciding(flag: Flag) -> Flag:
    """The flag by what its decisions rest on."""
    return replace(flag, version=0, cache_s=0)
