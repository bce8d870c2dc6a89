"""Questions about everybody that take long: each a walk over the lake, in the memory of some people at a time.

    rows of the lake, in batches  →  files, each with every row of some people   (`person_files`)
    one file at a time            →  a part of the answer
    the parts                     →  the answer: counts, of a bounded size

They run as jobs (`analysis_runs`), each in a process of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import polars as pl

from expressions.batch.counting import without_unread_fields
from expressions.batch.frames import column_of, holding
from expressions.batch.member_frames import linked_persons
from expressions.batch.over_time import answers_over_time, common_members, instants_of_days, members_by_instant
from expressions.definitions import Bound, Definition, DefinitionKind, Key
from expressions.plan import plan
from expressions.rules.deletes import ACT_KINDS, after_deletes
from expressions.rules.identity import owners
from expressions.text.bind import bind_one
from lake.row_files import FILES_MAX
from serving.definitions.catalogue import Catalogue, decode
from serving.history import Source
from serving.lookups.flag_frames import allowed_by, named_answers, needed_for
from serving.lookups.impact import Impact
from serving.lookups.job_process import main_of
from serving.lookups.person_files import PersonFiles
from serving.lookups.unsaved_expressions import KEY
from serving.times import rfc3339

AnalysisKind: TypeAlias = Literal["trend", "overlap", "impact", "people"]
ANALYSES: tuple[AnalysisKind, ...] = get_args(AnalysisKind)

#: Segments that an overlap lists, those with the most members in common first.
SEGMENTS_MAX = 100
#: Rows of the lake that one file of people should have, since a file is in memory at once: of a trend fewer, since each
#: is evaluated at many instants.
ROWS_AT_ONCE: dict[AnalysisKind, int] = {"trend": 50_000, "overlap": 200_000, "impact": 200_000, "people": 200_000}
#: People whom an answer lists, and the bytes of their ids: a result is one line of a job's output.
LISTED_MAX, LISTED_BYTES_MAX = 5_000, 512 << 10
#: Rows of the lake that are read at a time; fewer where they are large (`lake.batches`). Each time costs a write to
#: each file of people.
BATCH_ROWS = 100_000


class Order(msgspec.Struct, frozen=True):
    """An analysis to make: of an expression, as of an instant (UTC ms), over a version of the lake's events.

    `key` is the definition that it is about, saved or not. `catalogue` is its text, as `serving.definitions.catalogue`
    encodes it; `after` that of the catalogue after the edit of which the impact is asked.
    """

    analysis: AnalysisKind
    source: Source
    version: int
    catalogue: bytes
    kind: DefinitionKind
    key: str | None
    expression: str
    now_ms: int
    after: bytes | None = None
    rows_at_once: int | None = None


class Progress(msgspec.Struct, frozen=True):
    """Steps done of all steps, two for each row of the lake; at the end the result."""

    done: int
    of: int
    result: dict[str, Any] | None = None


def analyse(order: Order, progress: Callable[[Progress], None]) -> None:
    """Makes an analysis; the last progress has the result. Raises `AWAY`, `Unavailable`."""
    catalogue = decode(order.catalogue)
    bound = bind_one(Definition(order.kind, KEY, order.expression), catalogue.bounds)
    last = Progress(0, 1)

    def report(step: Progress) -> None:
        nonlocal last
        last = step
        progress(step)

    result = _BY_KIND[order.analysis](order, catalogue, bound, report)
    progress(msgspec.structs.replace(last, result=result | {"asof": rfc3339(order.now_ms)}))


# ── trend ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _trend(order: Order, catalogue: Catalogue, bound: Bound, progress: Callable[[Progress], None]) -> dict[str, Any]:
    """`points`: a date, and for how many people the expression held at its end; today, now. `total`: all people.

    The people are those of now, and so are all definitions: links and deletes count whenever they came.
    """
    days = instants_of_days(order.now_ms, catalogue.zone)
    key: Key = (order.kind, KEY)
    members: Counter[int] = Counter()
    total = 0
    for people in people_in_parts(order, [bound], progress):
        for answers in answers_over_time(people, [bound], list(days), catalogue.zone):
            for now, count, everybody in members_by_instant(answers, key).iter_rows():
                members[now] += count
                total += everybody if now == order.now_ms else 0
    points = [{"date": day.isoformat(), "members": members[at]} for at, day in days.items()]
    return {"points": points, "total": total}


# ── overlap ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _overlap(order: Order, catalogue: Catalogue, bound: Bound, progress: Callable[[Progress], None]) -> dict[str, Any]:
    """`members`: for how many of `total` people the expression holds now; `segments`: how many are in another too.

    The segments with the most members in common come first, at most `SEGMENTS_MAX`; the others are `left_out`.
    """
    own: Key = (order.kind, KEY)
    others = [key for key in catalogue.bounds if key[0] == "segment" and key != (order.kind, order.key)]
    bounds = [bound, *(catalogue.bounds[key] for key in others)]
    counts: Counter[str] = Counter()
    for people in people_in_parts(order, bounds, progress):
        for answers in answers_over_time(people, bounds, [order.now_ms], catalogue.zone):
            counts.update(common_members(answers, own, others))
    both = {key: counts[f"both {column_of(key)}"] for key in others}
    segments = [
        {"key": key[1], "members": counts[f"in {column_of(key)}"], "both": both[key]}
        for key in sorted(others, key=lambda key: (-both[key], key[1]))
    ]
    return {
        "members": counts["own"],
        "total": counts["people"],
        "segments": segments[:SEGMENTS_MAX],
        "left_out": max(0, len(segments) - SEGMENTS_MAX),
    }


# ── impact ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _impact(order: Order, catalogue: Catalogue, bound: Bound, progress: Callable[[Progress], None]) -> dict[str, Any]:
    """What an edit changes for `total` people, of each definition that it reaches (`impact.Impact.result`)."""
    assert order.after is not None, "an impact is asked of an edit"
    impact = Impact(catalogue, decode(order.after), _owners(order), (order.kind, order.key or ""))
    for people in people_in_parts(order, impact.bounds, progress):
        for answers in answers_over_time(people, impact.bounds, [order.now_ms], catalogue.zone):
            impact.add(answers, order.now_ms)
    return impact.result()


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _people(order: Order, catalogue: Catalogue, bound: Bound, progress: Callable[[Progress], None]) -> dict[str, Any]:
    """For how many of `total` people the expression holds now; of a flag, whom it allows, by its `variants`.

    `sample` lists the first of them by id, `LISTED_MAX` in all at most: of each variant as many.
    """
    key: Key = (order.kind, KEY)
    flags, bounds = needed_for(catalogue, order.key or "") if order.kind == "flag" else ([], [bound])
    named = named_answers(flags, _owners(order)) if any(flag.users for flag in flags) else {}
    counts: Counter[str | None] = Counter()
    listed = pl.DataFrame(schema={"id": pl.String, "variant": pl.String})
    of_each = LISTED_MAX // max(1, len(flags[-1].values)) if flags else LISTED_MAX
    total = 0
    for people in people_in_parts(order, bounds, progress):
        for answers in answers_over_time(people, bounds, [order.now_ms], catalogue.zone):
            total += len(answers)
            if flags:
                found = allowed_by(answers, flags, named, order.now_ms)
            else:
                found = answers.filter(holding(key)).select("id", pl.lit(None, dtype=pl.String).alias("variant"))
            counts.update(dict(found.group_by("variant").len().iter_rows()))
            listed = pl.concat([listed, found]).sort("id").group_by("variant").head(of_each).select("id", "variant")
    listed = listed.sort("id").filter(pl.col("id").str.len_bytes().cum_sum() <= LISTED_BYTES_MAX)
    since = _since(order, listed["id"].to_list())
    return {
        "count": counts.total(),
        "total": total,
        "variants": [
            {"variant": name, "count": count}
            for name, count in sorted(counts.items(), key=lambda one: (-one[1], one[0] or ""))
            if name is not None
        ],
        "sample": [{"id": id, "variant": name, "since": since.get(id)} for id, name in listed.iter_rows()],
    }


def _owners(order: Order) -> pl.DataFrame:
    acts = order.source.history().events(order.version).filter(pl.col("kind").is_in(ACT_KINDS))
    return owners(after_deletes(acts))


def _since(order: Order, ids: Sequence[str]) -> dict[str, str]:
    """When a rebuild first saw each of some members, where it has, of a saved segment."""
    if order.kind != "segment" or order.key is None:
        return {}
    rows = order.source.history().memberships(ids).filter(pl.col("key") == order.key).select("id", "since").collect()
    return {id: rfc3339(since) for id, since in rows.iter_rows()}


_BY_KIND: dict[AnalysisKind, Callable[..., dict[str, Any]]] = {
    "trend": _trend,
    "overlap": _overlap,
    "impact": _impact,
    "people": _people,
}


# ── everybody, some people at a time ─────────────────────────────────────────────────────────────────────────────


def people_in_parts(
    order: Order, bounds: Sequence[Bound], progress: Callable[[Progress], None]
) -> Iterator[pl.DataFrame]:
    """Every row of some people at a time, with a column `person`; without fields that no definition reads."""
    lake = order.source.history()
    events = lake.events(order.version)
    needed = plan(bound.expr for bound in bounds)
    rows = int(events.select(pl.len()).collect().item())
    at_once = order.rows_at_once or ROWS_AT_ONCE[order.analysis]
    done = 0
    with PersonFiles(min(-(-rows // at_once) or 1, FILES_MAX), linked_persons(events)) as files:
        for batch in lake.event_batches(order.version, BATCH_ROWS, with_fields=needed.reads_fields):
            progress(Progress(done, 2 * rows))
            files.add(without_unread_fields(batch.lazy(), needed).collect())
            done += len(batch)
        for people in files.take():
            progress(Progress(min(done, 2 * rows), 2 * rows))  # a purged delete is in every file
            yield people
            done += len(people)
    progress(Progress(2 * rows, 2 * rows))


def main() -> None:
    """Makes the analysis that the order on the standard input describes."""
    main_of(lambda order, report: analyse(msgspec.json.decode(order, type=Order), report))


if __name__ == "__main__":
    main()
