"""The decisions of flags for everybody at once: each flag as one expression over a frame of answers.

    answers        id (the person), the columns of the flags' rules, and of the traits that they bucket by
    decisions      + for each flag a struct: allow, variant; those that it needs stand before it

It says what `serving.people.decide` says of one person, as of a rebuild: nothing is warming there, so no answer is
stale, and no request names a device. A test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import polars as pl

from expressions.batch.frames import column_of, holding, value_of
from expressions.batch.functions import buckets_of
from expressions.definitions import Bound, Key
from expressions.rules.bucketing import BUCKETS
from expressions.rules.values import canonical_json, to_json
from serving.definitions.catalogue import Catalogue
from serving.definitions.flags import Flag

#: The answers of flags by name: the flag, then the person, then what it says for them.
NamedAnswers: TypeAlias = Mapping[str, Mapping[str, bool | str]]

_DECISION = pl.Struct({"allow": pl.Boolean, "variant": pl.String})


def decision_column(key: str, mark: str = "") -> str:
    """The column of a flag's decision; `mark` tells one set of definitions from another."""
    return f"decision:{mark}{key}"


def with_decisions(
    answers: pl.DataFrame, flags: Sequence[Flag], named: NamedAnswers, now: int | pl.Expr, mark: str = ""
) -> pl.DataFrame:
    """The answers with a column for each flag: a struct of allow and variant.

    `flags` stand in the order of `in_order`. `named` is what `named_answers` gives of them. `now` is the instant, UTC
    ms, or the column of each row's own. The columns of the definitions have keys that begin with `mark`.
    """
    instant = pl.lit(now, dtype=pl.Int64) if isinstance(now, int) else now
    for flag in flags:
        decision = _decision(flag, named.get(flag.key, {}), instant, mark)
        answers = answers.with_columns(decision.alias(decision_column(flag.key, mark)))
    return answers


def in_order(flags: Mapping[str, Flag], keys: Iterable[str]) -> list[Flag]:
    """Flags and all that they need, each after those that it needs. No flag needs itself."""
    ordered: dict[str, Flag] = {}
    waiting = list(keys)
    while waiting:
        flag = flags[waiting[-1]]
        missing = [needed.flag for needed in flag.prerequisites if needed.flag not in ordered]
        if missing and flag.key not in ordered:
            waiting += missing
        else:
            ordered.setdefault(flag.key, flag)
            waiting.pop()
    return list(ordered.values())


def needed_for(catalogue: Catalogue, key: str) -> tuple[list[Flag], list[Bound]]:
    """A flag with those that it needs, itself last; and what a frame of answers must have for their decisions."""
    flags = in_order(catalogue.flags, [key])
    keys: dict[Key, None] = {("flag", flag.key): None for flag in flags}
    keys |= {("trait", flag.bucketing_trait): None for flag in flags if flag.bucketing_trait is not None}
    return flags, [catalogue.bounds[key] for key in keys]


def allowed_by(answers: pl.DataFrame, flags: Sequence[Flag], named: NamedAnswers, now_ms: int) -> pl.DataFrame:
    """id and variant of each person whom the last of some flags allows, from the answers that `needed_for` names."""
    decision = pl.col(decision_column(flags[-1].key)).struct.unnest()
    return with_decisions(answers, flags, named, now_ms).select("id", decision).filter("allow").drop("allow")


def _decision(flag: Flag, named: Mapping[str, bool | str], now: pl.Expr, mark: str) -> pl.Expr:
    """Each step that says no ends it, as the first branch that holds; what is left is allowed."""
    on = pl.lit(flag.enabled)
    if flag.starts_ms is not None:
        on = on & (now >= flag.starts_ms)
    if flag.ends_ms is not None:
        on = on & (now < flag.ends_ms)
    failed = pl.lit(False)
    for needed in flag.prerequisites:
        other = pl.col(decision_column(needed.flag, mark)).struct
        passed = other.field("allow")
        if needed.variant is not None:
            passed = passed & (other.field("variant") == needed.variant).fill_null(False)
        failed = failed | ~passed
    default = flag.default if isinstance(flag.default, str) else None
    refused = _literal(False, default)
    decision = _for_everybody(flag, refused, mark)
    if named:
        decision = _by_name(named, refused, _allowed(flag, refused, mark)).fill_null(decision)
    return (
        pl.when(~on)
        .then(_literal(flag.default is True, default))
        .when(failed)
        .then(refused)
        .otherwise(decision)
        .cast(_DECISION)
    )


def _for_everybody(flag: Flag, refused: pl.Expr, mark: str) -> pl.Expr:
    allowed = _allowed(flag, refused, mark)
    passes = holding(("flag", mark + flag.key))
    if flag.rollout < BUCKETS:
        passes = passes & (_bucket(flag, "membership", mark) < flag.rollout).fill_null(False)
    return pl.when(passes).then(allowed).otherwise(refused)


def _by_name(named: Mapping[str, bool | str], refused: pl.Expr, allowed: pl.Expr) -> pl.Expr:
    """The decision for those whom the flag names; null for all others."""
    said = pl.col("id").replace_strict(
        list(named), [_said(answer) for answer in named.values()], default=None, return_dtype=pl.String
    )
    own = pl.struct(pl.lit(True).alias("allow"), said.str.slice(1).alias("variant"))
    return (
        pl.when(said == "-")
        .then(refused)
        .when(said == "+")
        .then(allowed)
        .when(said.is_not_null())
        .then(own)
        .otherwise(pl.lit(None, dtype=_DECISION))
    )


def _said(answer: bool | str) -> str:
    return f"={answer}" if isinstance(answer, str) else "+" if answer else "-"


def _allowed(flag: Flag, refused: pl.Expr, mark: str) -> pl.Expr:
    """The decision where all steps said yes: with a variant, where the flag has some."""
    if not flag.values:
        return _literal(True, None)
    if flag.only_variant is not None:
        return _literal(True, flag.only_variant)
    name = _bucket(flag, "variant", mark).map_batches(partial(_variants, flag), pl.String)
    return (
        pl.when(name.is_not_null())
        .then(pl.struct(pl.lit(True).alias("allow"), name.alias("variant")))
        .otherwise(refused)
    )


def _bucket(flag: Flag, what: str, mark: str) -> pl.Expr:
    """The bucket for membership or for the variant; null where the trait that is bucketed is."""
    subject = pl.col("id")
    if flag.bucketing_trait is not None:
        key: Key = ("trait", mark + flag.bucketing_trait)
        subject = pl.col(column_of(key)).map_batches(_subjects, pl.String)
    return subject.map_batches(partial(buckets_of, f"{flag.salt}:{what}"), pl.Float64)


def _subjects(values: pl.Series) -> pl.Series:
    read = (value_of(answer) for answer in values.to_list())
    texts = [None if value is None else f"trait:{canonical_json(to_json(value))}" for value in read]
    return pl.Series(values.name, texts, dtype=pl.String)


def _variants(flag: Flag, buckets: pl.Series) -> pl.Series:
    names = [None if bucket is None else flag.split.name_of(int(bucket)) for bucket in buckets.to_list()]
    return pl.Series(buckets.name, names, dtype=pl.String)


def _literal(allow: bool, variant: str | None) -> pl.Expr:
    return pl.struct(pl.lit(allow).alias("allow"), pl.lit(variant, dtype=pl.String).alias("variant"))


# ── by name ──────────────────────────────────────────────────────────────────────────────────────────────────────


def named_answers(flags: Iterable[Flag], owners: pl.DataFrame) -> NamedAnswers:
    """What each flag says by name, by the person: of several of their ids the one that a read finds first counts.

    That is the person's own id, then those that belong to it directly in the order of their claims, and so on
    (`serving.people.gather`). `owners` are those of `identity.owners`.
    """
    claims: dict[str, tuple[str, int]] = {
        id: (owner, ts) for id, owner, ts in owners.select("id", "owner", "ts").iter_rows()
    }
    answers: dict[str, dict[str, bool | str]] = {}
    for flag in flags:
        ways = sorted((_way(id, claims), id) for id in flag.users)
        of_flag = answers.setdefault(flag.key, {})
        for (_, _, root), id in ways:
            of_flag.setdefault(root, flag.users[id])
    return answers


def _way(id: str, claims: Mapping[str, tuple[str, int]]) -> tuple[int, list[Any], str]:
    """The steps from an id up to its person, when each was claimed from the person down, and the person."""
    path, times = [id], list[int]()
    while path[-1] in claims and claims[path[-1]][0] not in path:
        owner, ts = claims[path[-1]]
        path.append(owner)
        times.insert(0, ts)
    return len(times), times, path[-1]
